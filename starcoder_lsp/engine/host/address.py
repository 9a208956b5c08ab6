"""The files by which a host is found, in a private folder of the user, and its socket or loopback port.

A host named NAME has `NAME.lock` (locked while it runs), `NAME.sock` or `NAME.port` (a port and a secret), and
`NAME.log`, its standard error. The next host that starts removes the files of killed ones.

The library for the lock is imported at its first use: a server that connects to a running host needs none.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import stat
import struct
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import platformdirs
from attrs import define, frozen

from starcoder_lsp.engine.engine import EngineError

if TYPE_CHECKING:
    from filelock import BaseFileLock

MAX_SOCKET_PATH_BYTES = 100
"""The system's limit is 104 on macOS and 108 on Linux, the NUL included."""
MAX_NAME_BYTES = 40
"""Room for a slash, the name and `.sock`: a key of 16 digits, and for a private host a process id and 8 digits more."""
HAS_SOCKET_FILES = hasattr(socket, "AF_UNIX") and sys.platform != "win32"
ENDINGS = (".sock", ".port", ".log", ".lock")
NAME_TAKEN = 75
"""Exit code of a host that found another one under its name (EX_TEMPFAIL)."""
OnClient = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Port(msgspec.Struct):
    port: int
    secret: str


def runtime_path() -> Path:
    """Return the path of the folder for sockets, which may not exist."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without XDG_RUNTIME_DIR it is below the folder for temporary files
        folder = platformdirs.user_runtime_path("starcoder-lsp", appauthor=False)
    if HAS_SOCKET_FILES and len(os.fsencode(folder)) > MAX_SOCKET_PATH_BYTES - MAX_NAME_BYTES:
        folder = Path(tempfile.gettempdir()) / f"starcoder-lsp-{os.getuid()}"
    return folder


def runtime_folder() -> Path:
    """Return the folder for sockets, and make it if need be. Raises `EngineError` if others can use it."""
    folder = runtime_path()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        message = f"the folder {folder} cannot be made ({error.strerror}); set XDG_RUNTIME_DIR to one that can"
        raise EngineError(message) from error
    if hasattr(os, "getuid") and (
        not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077
    ):
        message = f"the folder {folder} must be yours and yours alone: chmod 700, or set XDG_RUNTIME_DIR to another one"
        raise EngineError(message)
    return folder


@frozen
class Address:
    """The files of one host, and its `transport`: `socket` or `port`."""

    folder: Path
    name: str
    transport: str

    @classmethod
    def of(cls, name: str, transport: str) -> Address:
        """Return the address of a name. `auto` is `socket` if the system has socket files. Raises `EngineError`."""
        if transport == "auto":
            transport = "socket" if HAS_SOCKET_FILES else "port"
        if transport == "socket" and not HAS_SOCKET_FILES:
            message = "host.transport: this system has no socket files; use `port`"
            raise EngineError(message)
        return cls(runtime_folder(), name, transport)

    @classmethod
    def known(cls, folder: Path, name: str) -> Address:
        """Return the address of a host that has files in the folder."""
        return cls(folder, name, "port" if (folder / f"{name}.port").exists() else "socket")

    def path(self, ending: str) -> Path:
        """Return the path of the file with this ending."""
        return self.folder / (self.name + ending)

    @property
    def log(self) -> Path:
        """The file with the host's standard error."""
        return self.path(".log")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """Connect to the host, and return the secret to send as third. Raises `OSError` if no host listens."""
        if self.transport == "socket":
            reader, writer = await asyncio.open_unix_connection(self.path(".sock"), limit=1 << 20)
            check_peer(writer.get_extra_info("socket"))
            return reader, writer, ""
        try:
            port = msgspec.json.decode(self.path(".port").read_bytes(), type=_Port)
        except msgspec.DecodeError as error:
            raise FileNotFoundError from error
        reader, writer = await asyncio.open_connection("127.0.0.1", port.port, limit=1 << 20)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return reader, writer, port.secret


@define(eq=False)
class Listener:
    """The host's end of its address: the lock and the listening socket."""

    address: Address
    secret: str
    _lock: BaseFileLock
    _server: asyncio.Server | None = None

    @classmethod
    def claim(cls, address: Address) -> Listener:
        """Lock the name. Raises `TakenError` if another host has it."""
        from filelock import FileLock, Timeout

        lock = FileLock(address.path(".lock"), mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise TakenError from error
        secret = secrets.token_hex(32) if address.transport == "port" else ""
        return cls(address, secret, lock)

    async def listen(self, on_client: OnClient) -> None:
        """Start to accept connections. Raises `OSError`."""
        for ending in (".sock", ".port"):  # files of a killed host; the lock says that it is gone
            self.address.path(ending).unlink(missing_ok=True)
        if self.address.transport == "socket":
            path = self.address.path(".sock")
            self._server = await asyncio.start_unix_server(on_client, path, limit=1 << 20)
            path.chmod(0o600)
            return
        self._server = await asyncio.start_server(on_client, "127.0.0.1", 0, limit=1 << 20)
        self._publish(self._server.sockets[0].getsockname()[1])

    def _publish(self, port: int) -> None:
        """Write port and secret into a file that only this user can read."""
        descriptor, new = tempfile.mkstemp(prefix=".", dir=self.address.folder)  # its mode is 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(_Port(port, self.secret)))
        Path(new).replace(self.address.path(".port"))

    def knows(self, secret: str) -> bool:
        """Return whether a client's secret is right, which only this user can read."""
        return hmac.compare_digest(secret.encode(), self.secret.encode())

    def close(self) -> None:
        """Unlock the name, and remove all files."""
        if self._server is not None:
            self._server.close()
        for ending in ENDINGS:
            self.address.path(ending).unlink(missing_ok=True)
        self._lock.release()


class TakenError(Exception):
    """Another host has the name."""


def check_peer(connection: socket.socket) -> None:
    """Raise `PermissionError` unless the peer's process belongs to this user or root."""
    uid = peer_uid(connection)
    if uid is not None and uid not in {os.getuid(), 0}:
        message = f"the process at the other end belongs to user {uid}"
        raise PermissionError(message)


def peer_uid(connection: socket.socket) -> int | None:
    """Return the user id of the peer of a socket file, or `None` where the system cannot tell."""
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")
        uid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1]
        return uid
    if sys.platform == "darwin":  # struct xucred, of which the version and the user come first
        return int(struct.unpack_from("II", connection.getsockopt(0, 1, 76))[1])
    return None


def known_names(folder: Path) -> Iterator[str]:
    """Yield the names of hosts that have files in the folder, running or not."""
    yield from sorted({path.stem for path in folder.glob("*") if path.suffix in ENDINGS and path.stem})


def is_alive(folder: Path, name: str) -> bool:
    """Return whether a host has locked the name."""
    from filelock import FileLock, Timeout

    path = folder / f"{name}.lock"
    if not path.exists():
        return False
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def sweep(folder: Path, keep: str = "") -> None:
    """Remove the files of hosts that are gone, but for those of `keep`."""
    from filelock import FileLock, Timeout

    for name in known_names(folder):
        if name == keep:
            continue
        lock = FileLock(folder / f"{name}.lock", mode=0o600)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        for ending in ENDINGS:
            with suppress(OSError):
                (folder / (name + ending)).unlink(missing_ok=True)
        lock.release()
