"""
Towards the clients: the listening socket, the front that tells TLS from plain HTTP, and HTTP/1.1.
"""
