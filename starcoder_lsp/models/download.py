"""Download one file from the hub into a partial file that survives failures and kills, and verify it meanwhile.

Received bytes are appended to `FILE.part` without a buffer, so that a kill loses nothing; `FILE.part.json` beside it
identifies the whole file. The next download continues it by a Range request. The sha256 is computed as the bytes come;
only those of an earlier process are read once more, since an unfinished hash cannot be stored.

Why not `huggingface_hub`: its versions 1 and 2 begin again from zero after a failure, and none checks the sha256.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from attrs import define, field, frozen

from starcoder_lsp.models.errors import ModelsError
from starcoder_lsp.models.hub import Hub, RemoteFile, refuse
from starcoder_lsp.models.state import read_json, write_json
from starcoder_lsp.models.transport import Response, TransportError

CHUNK_BYTES: Final = 256 << 10
"""Bytes of an earlier part that are read at a time: below a millisecond. New bytes are written as they come."""
MAX_FAILURES: Final = 5
"""The most attempts in a row that bring no byte. One that brings some starts the count again."""
PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
MAX_PAUSE_S: Final = 60.0
"""The longest pause that a server can ask for by `Retry-After`."""
OK, PARTIAL, RANGE_NOT_SATISFIABLE = 200, 206, 416

OnBytes = Callable[[int], None]
"""Called with the number of bytes on the disk."""


class WrongBytesError(ModelsError):
    """All bytes came, but their sha256 differs from the hub's."""


@frozen
class Patience:
    """The patience with a failing server. `pauses_s` come between attempts, the last one again and again."""

    pauses_s: tuple[float, ...] = PAUSES_S
    max_failures: int = MAX_FAILURES


@define
class Part:
    """An open partial file, and the hash of its bytes."""

    file: BinaryIO
    n_bytes: int = 0
    sha256: Any = field(factory=hashlib.sha256)

    def add(self, data: bytes) -> None:
        """Append bytes. Raises `OSError` where the disk is full; what was written before stays."""
        view = memoryview(data)
        while view:
            n_written = self.file.write(view)
            self.sha256.update(view[:n_written])
            self.n_bytes += n_written
            view = view[n_written:]

    def restart(self) -> None:
        """Delete all bytes."""
        self.file.seek(0)
        self.file.truncate()
        self.n_bytes, self.sha256 = 0, hashlib.sha256()


def part_path(path: Path) -> Path:
    """Return the path of a file's partial download."""
    return path.with_name(f"{path.name}.part")


def label_path(path: Path) -> Path:
    """Return the path of the file that identifies a partial download."""
    return path.with_name(f"{path.name}.part.json")


def n_bytes_here(path: Path, wanted: RemoteFile) -> int:
    """Return the number of bytes of `wanted` that an earlier download to `path` has left."""
    if read_json(label_path(path)) != _label(wanted):
        return 0
    try:
        return min(part_path(path).stat().st_size, wanted.n_bytes)
    except OSError:
        return 0


async def download(
    hub: Hub, wanted: RemoteFile, path: Path, on_bytes: OnBytes, patience: Patience | None = None
) -> str:
    """Download a file to `path`, verify it, and return its sha256. After any failure the partial file stays.

    Raises `ModelsError`; `WrongBytesError` for bytes that are not the hub's, which are deleted.
    """
    try:
        is_continued = n_bytes_here(path, wanted) > 0
        try:
            return await _download_once(hub, wanted, path, on_bytes, patience or Patience())
        except WrongBytesError:
            if not is_continued:  # otherwise the earlier bytes may be the wrong ones: a power failure, a changed file
                raise
            return await _download_once(hub, wanted, path, on_bytes, patience or Patience())
    except OSError as error:
        message = f"{error.filename or path}: {error.strerror or error}; the downloaded part is kept"
        raise ModelsError(message) from error


async def _download_once(hub: Hub, wanted: RemoteFile, path: Path, on_bytes: OnBytes, patience: Patience) -> str:
    part = part_path(path)
    if not n_bytes_here(path, wanted):
        part.unlink(missing_ok=True)
        write_json(label_path(path), _label(wanted))
    with part.open("ab+", buffering=0) as file:
        written = Part(file)
        await _read_again(written, wanted, on_bytes)
        await _fill(hub, wanted, written, on_bytes, patience)
        sha256 = str(written.sha256.hexdigest())
        if wanted.sha256 and sha256 != wanted.sha256:
            written.restart()
            message = (
                f"the bytes of {wanted.source} are wrong: their sha256 is {sha256}, and the hub states {wanted.sha256};"
                " they were deleted. Try again later, or without the proxy or mirror in between"
            )
            raise WrongBytesError(message)
        await asyncio.to_thread(os.fsync, file.fileno())
    part.replace(path)
    label_path(path).unlink(missing_ok=True)
    return sha256


async def _read_again(part: Part, wanted: RemoteFile, on_bytes: OnBytes) -> None:
    """Hash the bytes that an earlier process has left, in pieces between which a cancellation takes effect."""
    part.file.seek(0)
    while data := part.file.read(CHUNK_BYTES):
        part.sha256.update(data)
        part.n_bytes += len(data)
        on_bytes(part.n_bytes)
        await asyncio.sleep(0)
    if part.n_bytes > wanted.n_bytes:
        part.restart()


async def _fill(hub: Hub, wanted: RemoteFile, part: Part, on_bytes: OnBytes, patience: Patience) -> None:
    """Request the missing bytes until none are missing. Raises `ModelsError` after too many attempts without a byte."""
    n_failures = 0
    while part.n_bytes < wanted.n_bytes:
        n_before = part.n_bytes
        try:
            await _request_rest(hub, wanted, part, on_bytes)
        except TransportError as error:
            n_failures = 1 if part.n_bytes > n_before else n_failures + 1
            asked_pause_s = getattr(error, "retry_after_s", None)
            if n_failures >= patience.max_failures:
                why = str(error) or type(error).__name__
                message = (
                    f"the download of {wanted.source} does not go on: {why}; {part.n_bytes:,} of {wanted.n_bytes:,}"
                    " bytes are kept, and the next try continues there"
                )
                raise ModelsError(message) from error
            pause_s = patience.pauses_s[min(n_failures, len(patience.pauses_s)) - 1]
            await asyncio.sleep(pause_s if asked_pause_s is None else min(asked_pause_s, MAX_PAUSE_S))


async def _request_rest(hub: Hub, wanted: RemoteFile, part: Part, on_bytes: OnBytes) -> None:
    """Request the rest once and append it. Raises `TransportError` if a second try may help."""
    headers = dict(hub.headers)
    if part.n_bytes:
        headers["Range"] = f"bytes={part.n_bytes}-"
    url = wanted.url(hub.environment.endpoint)
    async with hub.client.stream("GET", url, headers=headers, follow_redirects=True) as response:
        if response.status_code == RANGE_NOT_SATISFIABLE:
            part.restart()
            message = "the server has fewer bytes than were downloaded before"
            raise TransportError(message)
        _refuse(response, wanted)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            message = f"{response.url.host} sends {wanted.source} compressed, which cannot be continued or verified"
            raise ModelsError(message)
        if part.n_bytes and _first_byte(response) != part.n_bytes:
            part.restart()  # a server or proxy that does not do ranges sends all of it
        async for data in response.aiter_raw():
            if part.n_bytes + len(data) > wanted.n_bytes:
                part.restart()
                message = f"{response.url.host} sends more bytes than the {wanted.n_bytes:,} that it announced"
                raise TransportError(message)
            part.add(data)
            on_bytes(part.n_bytes)
    if part.n_bytes < wanted.n_bytes:
        message = f"the connection ended after {part.n_bytes:,} of {wanted.n_bytes:,} bytes"
        raise TransportError(message)


def _refuse(response: Response, wanted: RemoteFile) -> None:
    """Raise what `hub.refuse` raises, with the pause that the server asks for."""
    try:
        refuse(response, wanted.source)
    except TransportError as error:
        with suppress(ValueError):
            error.retry_after_s = max(0.0, float(response.headers.get("Retry-After", "")))  # type: ignore[attr-defined]
        raise


def _first_byte(response: Response) -> int:
    """Return the place in the file of the first byte of an answer."""
    if response.status_code != PARTIAL:
        return 0
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdecimal() else 0


def _label(wanted: RemoteFile) -> dict[str, Any]:
    return {"file": str(wanted.source), "etag": wanted.sha256 or wanted.etag, "bytes": wanted.n_bytes}
