"""Tests of fastcar_tw.names."""
