"""Tests of fastcar_tw.upstream."""
