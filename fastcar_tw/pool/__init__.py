"""
Who gets which connection: the decisions of a pool, without I/O, for every service that has one.
"""
