"""Tests of `fastcar_tw.relay`."""
