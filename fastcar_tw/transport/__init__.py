"""Twisted's own transports, made eager: they send at once, read with one plain `recv`, and accept
many connections a wake-up.  :mod:`.facade` puts them under any endpoint; :mod:`.eager` holds the
connections and :mod:`.ports` the listening sides.  Protocols need not know which kind they are on.
"""
