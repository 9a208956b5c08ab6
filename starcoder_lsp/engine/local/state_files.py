"""KV states on disk, one file each, which outlive the process.

A file is, little-endian: magic with version (8 bytes), model key (32), the lengths of document name (4), ids (4) and
state (8), then the document's name in UTF-8, the ids of 4 bytes each, the state, and a CRC-32 of all before it (4).
Its name is the SHA-256 of model key and ids.

No file error is raised: a state that cannot be written or read is evaluated again. Other processes may add and remove
files at any time.
"""

from __future__ import annotations

import os
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from zlib import crc32

import numpy as np
from attrs import evolve, frozen

from starcoder_lsp.engine.engine import is_memory_only

MAGIC = b"slsp-kv\x01"
START = struct.Struct("<8s32sIIQ")
N_CHECKSUM_BYTES = 4
N_IDENTITY_BYTES = 1024 * 1024
"""The bytes of a model file that are hashed: the beginning of its header."""


@frozen
class DiskSpace:
    """The folder for states, and the most bytes of all files."""

    folder: Path
    max_bytes: int


@frozen
class StoredState:
    """A file with the state of `ids`, and the time of its last use."""

    document: str
    ids: tuple[int, ...]
    path: Path
    used_ns: int

    @property
    def n_prompt(self) -> int:
        """Return how many of them count as a prompt: all, since a file does not say where an answer begins."""
        return len(self.ids)


def model_key(path: Path, *how: object) -> bytes:
    """Hash the model file, and the options `how` that change cells, to 32 bytes. Equal keys mean equal cells."""
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        identity = repr((stat.st_size, stat.st_mtime_ns, how)).encode()
        return sha256(identity + file.read(N_IDENTITY_BYTES)).digest()


def state_files(max_bytes: int, model: Path, *how: object) -> StateFiles | None:
    """Return the states of a model file in the user's cache folder, or `None` if `max_bytes` is 0."""
    if not max_bytes:
        return None
    import platformdirs

    folder = platformdirs.user_cache_path("starcoder-lsp", appauthor=False) / "states"
    return StateFiles(DiskSpace(folder, max_bytes), model_key(model, *how))


class StateFiles:
    """The states of one model, in a folder for all models. The least recently used files of all are evicted first."""

    def __init__(self, space: DiskSpace, key: bytes) -> None:
        self._space = space
        self._model_key = key
        self._stored: dict[Path, StoredState] = {}
        for used_ns, _, path in self._files():
            with suppress(OSError, UnicodeDecodeError):
                stored = self._read_head(path, used_ns)
                if stored is not None:
                    self._stored[path] = stored

    def __iter__(self) -> Iterator[StoredState]:
        """Iterate over a snapshot, most recently used first. Any thread may."""
        return iter(sorted(self._stored.values(), key=lambda stored: stored.used_ns, reverse=True))

    def add(self, document: str, ids: Sequence[int], state: memoryview, used_ns: int) -> None:
        """Write a state that was last used at `used_ns`, if it fits beside those that were used later.

        Files of the same document that it continues are removed. A document that is kept in memory only writes none.
        """
        if is_memory_only(document):
            return
        packed_ids = np.asarray(ids, "<i4").tobytes()
        path = self._space.folder / f"{sha256(self._model_key + packed_ids).hexdigest()}.kv"
        try:
            existing = self._stored.get(path)
            if existing is None or existing.document != document or not path.exists():
                head = self._head(document, packed_ids, state.nbytes)
                if not self._make_room(len(head) + state.nbytes + N_CHECKSUM_BYTES, used_ns):
                    return
                self._write(path, head, state)
            os.utime(path, ns=(used_ns, used_ns))
        except OSError:
            return
        new = self._stored[path] = StoredState(document, tuple(ids), path, used_ns)
        for old in self:
            if old is not new and old.document == document and new.ids[: len(old.ids)] == old.ids:
                self._drop(old.path)

    def read(self, stored: StoredState) -> memoryview | None:
        """Return the state in a file, which counts as used now, or `None` if the file is damaged.

        The checksum protects llama.cpp: wrong bytes might fail an assertion, which ends the process.
        """
        used_ns = time.time_ns()
        packed_ids = np.asarray(stored.ids, "<i4").tobytes()
        try:
            with stored.path.open("rb") as file:
                data = bytearray(os.fstat(file.fileno()).st_size)
                n_read = file.readinto(data)
            with suppress(OSError):
                os.utime(stored.path, ns=(used_ns, used_ns))
        except (OSError, MemoryError):
            data, n_read = bytearray(), 0
        whole = memoryview(data)
        body, checksum = whole[:-N_CHECKSUM_BYTES], whole[-N_CHECKSUM_BYTES:]
        n_head_bytes = len(self._head(stored.document, packed_ids, 0))
        head = self._head(stored.document, packed_ids, max(0, len(body) - n_head_bytes))
        if n_read != len(data) or body[:n_head_bytes] != head or checksum != _checksum(body):
            self._drop(stored.path)
            return None
        self._stored[stored.path] = evolve(stored, used_ns=used_ns)
        return body[n_head_bytes:]

    def forget(self, document: str) -> None:
        """Remove every file of a document."""
        for stored in self:
            if stored.document == document:
                self._drop(stored.path)

    def _head(self, document: str, packed_ids: bytes, n_state_bytes: int) -> bytes:
        name = document.encode("utf-8", "surrogatepass")  # an editor's JSON may hold half a character
        start = START.pack(MAGIC, self._model_key, len(name), len(packed_ids) // 4, n_state_bytes)
        return start + name + packed_ids

    def _read_head(self, path: Path, used_ns: int) -> StoredState | None:
        """Return the state that a file's head describes; `None` if it is another model's, half written or cut off.

        The rest is checked when the state is read.
        """
        if path.name.startswith("."):
            return None
        with path.open("rb") as file:
            start = file.read(START.size).ljust(START.size, b"\0")
            magic, key, n_name_bytes, n_ids, n_state_bytes = START.unpack(start)
            if magic != MAGIC or key != self._model_key:
                return None
            n_bytes = START.size + n_name_bytes + 4 * n_ids + n_state_bytes + N_CHECKSUM_BYTES
            if n_bytes != os.fstat(file.fileno()).st_size:  # checked before reading by lengths that may be wrong
                self._drop(path)
                return None
            name, packed_ids = file.read(n_name_bytes), file.read(4 * n_ids)
        ids = tuple(np.frombuffer(packed_ids, "<i4").tolist())
        return StoredState(name.decode("utf-8", "surrogatepass"), ids, path, used_ns)

    def _files(self) -> list[tuple[int, int, Path]]:
        """Return the last use in ns, size in bytes and path of every file, least recently used first.

        These include other models' files and half-written ones.
        """
        found = []
        with suppress(OSError):
            for path in self._space.folder.glob("*.kv"):
                with suppress(OSError):
                    stat = path.lstat()
                    if S_ISREG(stat.st_mode):
                        found.append((stat.st_mtime_ns, stat.st_size, path))
        return sorted(found)

    def _make_room(self, n_bytes: int, used_ns: int) -> bool:
        """Remove files used before `used_ns` until `n_bytes` fit; return false if they do not."""
        if n_bytes > self._space.max_bytes:
            return False
        files = self._files()
        n_free = self._space.max_bytes - sum(n_file_bytes for _, n_file_bytes, _ in files)
        for file_used_ns, n_file_bytes, path in files:
            if n_free >= n_bytes or file_used_ns >= used_ns:
                break
            if self._drop(path):
                n_free += n_file_bytes
        return n_free >= n_bytes

    def _write(self, path: Path, head: bytes, state: memoryview) -> None:
        """Write a file whole or not at all, readable by this user only. Raises `OSError`.

        No fsync: the checksum detects a file that a power failure left incomplete.
        """
        self._space.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=".kv", dir=self._space.folder)  # its mode is 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(head)
                file.write(state)
                file.write(_checksum(head, state))
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)

    def _drop(self, path: Path) -> bool:
        """Remove a file; return false if that fails."""
        self._stored.pop(path, None)
        with suppress(OSError):
            path.unlink(missing_ok=True)
            return True
        return False


def _checksum(*parts: bytes | memoryview) -> bytes:
    checksum = 0
    for part in parts:
        checksum = crc32(part, checksum)
    return checksum.to_bytes(N_CHECKSUM_BYTES, "little")
