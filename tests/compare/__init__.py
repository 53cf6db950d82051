"""Tests of fastcar_tw.compare."""
