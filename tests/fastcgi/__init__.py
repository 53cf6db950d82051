"""Tests of fastcar_tw.fastcgi."""
