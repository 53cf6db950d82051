"""Tests of `fastcar_tw.tls`."""
