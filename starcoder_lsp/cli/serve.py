"""`starcoder-lsp serve`: the language server, on standard input and output or on a TCP port."""

from __future__ import annotations

import re
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

from starcoder_lsp.cli import CommandError, write_error_line
from starcoder_lsp.front.ends import accept, listen, standard_streams
from starcoder_lsp.front.relay import Relay
from starcoder_lsp.regular_files import read_regular

HOST_AND_PORT = re.compile(r"\[?(?P<host>[^\[\]]+)\]?:(?P<port>[0-9]{1,5})")
HIGHEST_PORT = 65535
MAX_TOKEN_BYTES = 4096


def serve(tcp: str | None = None, *, allow_remote: bool = False, token_file: Path | None = None) -> int:
    """Serve one client until it disconnects."""
    for stream, name in ((sys.stdin, "standard input"), (sys.stdout, "standard output")):
        if stream is None and tcp is None:
            message = f"{name} is closed"
            raise CommandError(message)
    token = "" if token_file is None else read_token(token_file)
    listener = None if tcp is None else listen_at(tcp, allow_remote=allow_remote)
    if listener is None:
        receive, output = standard_streams()
        Relay(output, is_child=True).run(receive)
        return 1
    receive, output, first = accept(listener, token)
    Relay(output, is_child=False).run(receive, first)
    return 1


def read_token(path: Path) -> str:
    """Return the token in a file. Raises `CommandError`."""
    try:
        token = read_regular(path, MAX_TOKEN_BYTES).decode().strip()
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) and error.strerror else error
        message = f"--token-file {path}: {cause}"
        raise CommandError(message) from error
    if not token:
        message = f"--token-file {path}: the file is empty"
        raise CommandError(message)
    return token


def listen_at(address: str, *, allow_remote: bool) -> socket.socket:
    """Return a listening socket and write its address to standard error. Raises `CommandError`."""
    match = HOST_AND_PORT.fullmatch(address)
    if match is None or int(match["port"]) > HIGHEST_PORT:
        message = f"--tcp {address!r}: expected HOST:PORT, for example 127.0.0.1:2087"
        raise CommandError(message)
    try:
        if not allow_remote and not is_loopback(match["host"]):
            message = f"--tcp {address}: other machines could connect there; use 127.0.0.1, or add --allow-remote"
            raise CommandError(message)
        listener = listen(match["host"], int(match["port"]))
    except (OSError, UnicodeError) as error:  # a name with a part that is empty or has more than 63 bytes is no host's
        message = f"--tcp {address}: {getattr(error, 'strerror', '') or error}"
        raise CommandError(message) from error
    write_error_line(f"listening on {address.rpartition(':')[0]}:{listener.getsockname()[1]}")
    return listener


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to a host. Raises `OSError` for a name that is not known."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
