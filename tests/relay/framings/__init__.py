"""Tests of `fastcar_tw.relay.framings`."""
