"""The service as a whole, between real peers: curl, PHP and nginx, and hand-written sockets."""
