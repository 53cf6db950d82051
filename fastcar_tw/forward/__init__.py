"""
The forward service: requests from the clients of this host to any origin.
"""
