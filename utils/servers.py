"""Servers that pictures are pushed to."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from utils.sources import VideoError

PATIENCE = 5.0  # seconds


def greet(address: str) -> None:
    """Begin a conversation with an RTMP or RTSP server and leave. Raises VideoError where nothing comes back in time.

    PyAV opens a connection with Python's lock held and no limit: a server that accepts and is silent would
    stop every thread for good. Source: Adobe's RTMP specification 1.0, 5.2; RFC 2326, 10.1.
    """
    parts = urlsplit(address)
    words = {
        "rtmp": (1935, b"\x03" + bytes(1536)),
        "rtsp": (554, f"OPTIONS {address} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()),
    }
    if parts.scheme not in words or not parts.hostname:
        return
    usual, hello = words[parts.scheme]
    try:
        with socket.create_connection((parts.hostname, parts.port or usual), PATIENCE) as connection:
            connection.sendall(hello)
            if connection.recv(1):
                return
        reason = "the server closed the connection"
    except TimeoutError:
        reason = f"the server says nothing for {PATIENCE:.0f} s"
    except OSError as error:
        reason = error.strerror or str(error)
    raise VideoError(f"{address}: cannot be written: {reason}")
