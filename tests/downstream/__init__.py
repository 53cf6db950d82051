"""Tests of the downstream side: what PHP connects to."""
