"""An HTTP server on the loopback with scripted replies, byte for byte, for faults that no real engine has on demand.

It implements a small part of HTTP/1.1. Each POST gets the next of `replies`, and later ones get the last.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext
from typing import Any

from attrs import define, field, frozen

HANG = None
"""In place of a chunk: send nothing more until the client disconnects."""


@frozen
class Reply:
    """The chunks of an answer. One with `is_cut` ends without the end of its body."""

    chunks: Sequence[bytes | None]
    status: int = 200
    headers: dict[str, str] = field(factory=dict)
    is_cut: bool = False


@frozen
class Request:
    """A request that the server received."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@define(eq=False)
class ScriptedServer:
    """The server. `pages` has the replies to GET, and to POST for paths among them."""

    pages: dict[str, Any]
    """`None` is a missing page."""
    replies: list[Reply] = field(factory=list)
    requests: list[Request] = field(factory=list)
    disconnected: asyncio.Event = field(factory=asyncio.Event)
    """Set when a client disconnects before the end of its reply."""
    requested: asyncio.Event = field(factory=asyncio.Event)
    port: int = 0
    n_connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def posts(self) -> list[Request]:
        """The requests that got one of `replies`."""
        return [each for each in self.requests if each.path not in self.pages]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
            while request := await _read(reader):
                self.requests.append(request)
                if request.path in self.pages:
                    page = self.pages[request.path]
                    reply = Reply([json.dumps(page).encode()], 404 if page is None else 200)
                else:
                    self.requested.set()
                    reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                try:
                    if not await self._write(reply, reader, writer):
                        break
                except ConnectionError:
                    self.disconnected.set()
                    break
        writer.close()

    async def _write(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = [
            f"HTTP/1.1 {reply.status} X",
            "Transfer-Encoding: chunked",
            *(f"{k}: {v}" for k, v in reply.headers.items()),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for chunk in reply.chunks:
            if chunk is HANG:
                assert not await reader.read(1)
                self.disconnected.set()
                return False
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
            if reader.at_eof():
                self.disconnected.set()
                return False
        if reply.is_cut:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert len(headers) == len(lines), "each once"
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, json.loads(body) if body else None)


@asynccontextmanager
async def scripted_server(
    pages: dict[str, Any], *replies: Reply, port: int = 0, tls: SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """Run a server for a block, on a port of its own or on this one."""
    scripted = ScriptedServer(pages, list(replies))
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", port, ssl=tls)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
