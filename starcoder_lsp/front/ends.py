"""The two ends of the editor's connection: standard input and output, or the socket of a client."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, Final

from starcoder_lsp.front.framing import Frames, Receive, TwoLengthsError, framed

FIRST_MESSAGE_TIMEOUT_S: Final = 10.0
"""The time that a client on a socket has for its first message. Not measured."""
INVALID_REQUEST: Final = -32600
HTTP: Final = re.compile(rb"[A-Z]{3,10} \S+ HTTP/")


def standard_streams() -> tuple[Receive, BinaryIO]:
    """Return standard input and output. Other code that prints writes to standard error from now on."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return partial(os.read, sys.stdin.fileno()), output


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens for one client. Port 0 means any free port. Raises `OSError`."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=1)


def accept(listener: socket.socket, token: str = "") -> tuple[Receive, BinaryIO, bytes]:
    """Wait for a client of the protocol, then stop listening; return its first message too.

    A browser, a client without the `token`, or one that sends nothing is disconnected, and the next one is accepted.
    """
    while True:
        connection, _address = listener.accept()
        connection.settimeout(FIRST_MESSAGE_TIMEOUT_S)
        first = _first_message(connection, token)
        if first:
            break
        connection.close()
    listener.close()
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return first[0], connection.makefile("wb"), first[1]


def _first_message(connection: socket.socket, token: str) -> tuple[Receive, bytes] | None:
    """Return a function that reads on, and the first message; `None` for what is no client or lacks the token."""
    taken = bytearray()

    def receive(n_bytes: int) -> bytes:
        data = connection.recv(n_bytes)
        taken.extend(data)
        if HTTP.match(taken):
            raise OSError
        return data

    try:
        body = Frames(receive).read()
    except TwoLengthsError:
        body = None
    if HTTP.match(taken):
        _say(connection, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    if body is None:
        return None
    if token and not _is_token(_token_in(body), token):
        error = {
            "code": INVALID_REQUEST,
            "message": "initializationOptions.starcoder.token is not that of --token-file",
        }
        _say(connection, framed(json.dumps({"jsonrpc": "2.0", "id": _id_in(body), "error": error}).encode()))
        return None
    rest = bytes(taken[taken.index(body) + len(body) :])
    return partial(_received, connection, [rest]), _without_token(body)


def _is_token(given: str, token: str) -> bool:
    from hmac import compare_digest

    return compare_digest(given.strip().encode("utf-8", "replace"), token.encode())


def _received(connection: socket.socket, rest: list[bytes], n_bytes: int) -> bytes:
    """Return the bytes that were read beyond the first message, then those that the connection receives."""
    return rest.pop() if rest and rest[0] else connection.recv(n_bytes)


def _say(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        connection.sendall(data)


def _options_in(body: bytes) -> dict[str, Any]:
    """Return the section of our settings in an `initialize`, an empty one for anything else."""
    try:
        section = json.loads(body)["params"]["initializationOptions"]["starcoder"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return section if isinstance(section, dict) else {}


def _token_in(body: bytes) -> str:
    token = _options_in(body).get("token")
    return token if isinstance(token, str) else ""


def _without_token(body: bytes) -> bytes:
    """Return an `initialize` without the token, which no setting is."""
    if "token" not in _options_in(body):
        return body
    message = json.loads(body)
    del message["params"]["initializationOptions"]["starcoder"]["token"]
    return json.dumps(message).encode()


def _id_in(body: bytes) -> Any:
    try:
        return json.loads(body).get("id")
    except (ValueError, AttributeError, RecursionError):
        return None
