"""The network between a laptop and a team's engine: a proxy with its own names, TLS, and a faulty connection."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from attrs import define, field

NAME = "gpu.team.test"


@define(eq=False)
class Line:
    """A faulty connection: pieces of `n_piece_bytes`, a pause before each, and a cut after `n_bytes`."""

    n_piece_bytes: int = 65536
    pause_s: float = 0.0
    n_bytes: int | None = None
    request_lines: list[str] = field(factory=list)
    """The first lines of the requests to the proxy."""

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the engine's bytes."""
        n_left = self.n_bytes
        with suppress(OSError):
            while data := await reader.read(self.n_piece_bytes):
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)  # the pause is the fault that this class simulates
                if n_left is not None and len(data) >= n_left:
                    writer.write(data[:n_left])
                    await writer.drain()
                    writer.transport.abort()
                    return
                n_left = None if n_left is None else n_left - len(data)
                writer.write(data)
                await writer.drain()
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


async def _join(line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    with suppress(OSError, asyncio.CancelledError):  # the latter at the end of a test
        engine_reader, engine_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(line.carry(engine_reader, writer), _pump(reader, engine_writer))


@asynccontextmanager
async def gateway(port: int, certificate: Path, line: Line) -> AsyncIterator[int]:
    """Terminate TLS in front of an engine; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])  # as gateways do; only the second one is spoken
    server = await asyncio.start_server(
        lambda reader, writer: _join(line, reader, writer, port), "127.0.0.1", 0, ssl=context
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def proxy(names: dict[str, int], line: Line) -> AsyncIterator[str]:
    """A proxy for CONNECT that maps `names`, which nothing else can resolve, to ports of this machine."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line.request_lines.append(head.split("\r\n")[0])
        method, target, _ = line.request_lines[-1].split(" ")
        port = names.get(target)
        if method != "CONNECT" or port is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await _join(Line(), reader, writer, port)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def certificates(folder: Path, name: str = NAME) -> tuple[Path, Path]:
    """Return the certificate of a private authority, and a signed one for a host, with its key.

    The folder itself names that authority as `SSL_CERT_DIR` does, by its hash.
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here to make certificates")
    key_usage = ("-addext", "keyUsage=critical,keyCertSign")
    new = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    (folder / "names").write_text(f"subjectAltName=DNS:{name}\nauthorityKeyIdentifier=keyid\n")
    for arguments in (
        (*new, "-x509", *key_usage, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"),
        (*new, "-subj", f"/CN={name}", "-keyout", "own.key", "-out", "own.csr"),
        (
            *("x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"),
            *("-extfile", "names", "-out", "own.pem"),
        ),
        ("x509", "-hash", "-noout", "-in", "ca.pem"),
    ):
        ran = subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603, S607
    shutil.copy(folder / "ca.pem", folder / f"{ran.stdout.strip()}.0")
    own = folder / "own.pem"
    own.write_text(own.read_text() + (folder / "own.key").read_text())
    return folder / "ca.pem", own
