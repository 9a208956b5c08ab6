"""`starcoder-lsp serve`: the language server, on standard input and output or on a TCP port."""

from __future__ import annotations

import re
import socket
import sys

from starcoder_lsp.cli import CommandError, write_error_line
from starcoder_lsp.lsp.startup import make_server_quickly
from starcoder_lsp.lsp.streams import accept, listen, standard_streams

HOST_AND_PORT = re.compile(r"\[?(?P<host>[^\[\]]+)\]?:(?P<port>[0-9]{1,5})")
HIGHEST_PORT = 65535


def serve(tcp: str | None) -> int:
    """Serve one client until it disconnects."""
    for stream, name in ((sys.stdin, "standard input"), (sys.stdout, "standard output")):
        if stream is None and tcp is None:
            message = f"{name} is closed"
            raise CommandError(message)
    listener = None if tcp is None else listen_at(tcp)
    server = make_server_quickly()
    streams = standard_streams() if listener is None else accept(listener)
    server.serve(*streams, is_child=listener is None)
    return 1


def listen_at(address: str) -> socket.socket:
    """Return a listening socket and write its address to standard error. Raises `CommandError`."""
    match = HOST_AND_PORT.fullmatch(address)
    if match is None or int(match["port"]) > HIGHEST_PORT:
        message = f"--tcp {address!r}: expected HOST:PORT, for example 127.0.0.1:2087"
        raise CommandError(message)
    try:
        listener = listen(match["host"], int(match["port"]))
    except OSError as error:
        message = f"--tcp {address}: {error.strerror or error}"
        raise CommandError(message) from error
    write_error_line(f"listening on {address.rpartition(':')[0]}:{listener.getsockname()[1]}")
    return listener
