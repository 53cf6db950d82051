"""
The framings that fastcar brings along; see L{fastcar_tw.relay.framing}.
"""
