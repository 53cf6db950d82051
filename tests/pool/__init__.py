"""The pool core."""
