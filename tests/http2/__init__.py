"""Tests of fastcar_tw.http2: bytes in, bytes out."""
