"""`starcoder-lsp serve`: the language server, on standard input and output or on a TCP port."""

from __future__ import annotations

from starcoder_lsp.cli import CommandError
from starcoder_lsp.lsp.server import make_server

HIGHEST_PORT = 65535


def serve(tcp: str | None) -> int:
    """Serve one client until it leaves."""
    server = make_server()
    if tcp is None:
        server.start_io()
    else:
        host, colon, port = tcp.rpartition(":")
        if not colon or not port.isdigit() or int(port) > HIGHEST_PORT:
            message = f"--tcp {tcp!r}: expected HOST:PORT, for example 127.0.0.1:2087"
            raise CommandError(message)
        try:
            server.start_tcp(host, int(port))
        except OSError as error:
            message = f"--tcp {tcp}: {error.strerror or error}"
            raise CommandError(message) from error
    server.leave()  # the client closed the connection without saying goodbye
    return 1
