"""
From names to addresses: look-ups that do not delay one another, their cache, and overrides.
"""
