"""Tests of the eager transports: alone over a socket pair, on the reactor, and side by side with
Twisted's plain ones."""
