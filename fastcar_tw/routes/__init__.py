"""
Ways to an origin that lead through a proxy.
"""
