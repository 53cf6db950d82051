"""
Media types of files by their suffix.

What web pages consist of has the same type on every machine and with every version of Python, since
a wrong one breaks them (a module script has to be JavaScript, WebAssembly has to be that); all else
is what the machine says, through L{twisted.web.static}.
"""

from __future__ import annotations

from twisted.web.static import File

#: Of files about which nobody knows anything: never a type that a browser would interpret.
UNKNOWN = "application/octet-stream"

_FIXED = {
    # Text (RFC 9239 for JavaScript, source maps as the HTML standard has them).
    ".css": "text/css",
    ".csv": "text/csv",
    ".htm": "text/html",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".txt": "text/plain",
    ".vtt": "text/vtt",
    ".webmanifest": "application/manifest+json",
    ".xhtml": "application/xhtml+xml",
    ".xml": "application/xml",
    # Images.
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".ico": "image/vnd.microsoft.icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".jxl": "image/jxl",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    # Fonts (RFC 8081).
    ".eot": "application/vnd.ms-fontobject",
    ".otf": "font/otf",
    ".ttf": "font/ttf",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    # Sound and video; .ts is a part of a live stream (RFC 8216).
    ".flac": "audio/flac",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpd": "application/dash+xml",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".ts": "video/mp2t",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    # The rest.
    ".pdf": "application/pdf",
    ".wasm": "application/wasm",
    ".zip": "application/zip",
}

#: By suffix, in lower case.
MEDIA_TYPES: dict[str, str] = {**File.contentTypes, **_FIXED}
