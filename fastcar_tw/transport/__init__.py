"""
Twisted's own transports, made eager: they send at once, read with one plain C{recv}, and accept
many connections a wake-up.  L{facade} puts them under any endpoint; L{eager} holds the
connections and L{ports} the listening sides.  Protocols need not know which kind they are on.
"""
