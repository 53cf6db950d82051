"""
TLS on both sides: the sans-IO machine, the local CA, server contexts and upstream trust.
"""
