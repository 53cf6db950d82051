"""
HTTP/1.1 without I/O: heads, body framing, targets, and the responses fastcar writes itself.

Nothing in here knows a transport or a reactor.  Bytes go in, plain objects and bytes come out, and
what the peer got wrong becomes a L{fastcar_tw.http.errors.MessageError}.
"""
