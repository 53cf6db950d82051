"""Tests of fastcar_tw.http: bytes in, objects and errors out."""
