"""
TCP in front of TCP backends: a connection each, or few for many clients.
"""
