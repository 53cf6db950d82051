"""Tests of L{fastcar_tw.routes}."""
