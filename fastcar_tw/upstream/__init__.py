"""
Towards the origins: connections, their pool, and how they are opened.
"""
