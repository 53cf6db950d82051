"""Tests of fastcar_tw.forward."""
