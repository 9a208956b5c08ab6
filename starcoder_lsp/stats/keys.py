"""Keyed hashes of values that are compared later, so that the record does not contain them."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from attrs import frozen

N_KEY_BYTES = 32
N_HASH_BYTES = 8
"""64 bits: among a million lines, two have the same hash with a probability of 3 in 100 million."""
MIN_FRAGMENT_CHARS = 4
"""A shorter line, such as `}` or `)`, occurs everywhere and is not searched in commits. Not measured."""


@frozen
class Keys:
    """Hashes with a secret of this machine's user."""

    secret: bytes

    def of(self, text: str) -> str:
        """Return the keyed hash (BLAKE2b, 64 bits) of a text as hexadecimal digits."""
        data = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self.secret, digest_size=N_HASH_BYTES).hexdigest()

    def fragments(self, text: str) -> tuple[tuple[int, str], ...]:
        """Return the length and the hash of each line that is long enough, without the blanks around it."""
        lines = (line.strip() for line in text.splitlines())
        return tuple((len(line), self.of(line)) for line in lines if len(line) >= MIN_FRAGMENT_CHARS)


NO_KEYS = Keys(b"\0" * N_KEY_BYTES)
"""The keys of a log that records nothing."""


def load_keys(path: Path) -> Keys:
    """Read the key, or make one that only this user can read, the same for all processes. Raises `OSError`."""
    return _read(path) or _make(path)


def _read(path: Path) -> Keys | None:
    """Return the key; `None` if there is none, or if a full disk or a crash cut it off: what it hashed is lost."""
    with suppress(FileNotFoundError):
        secret = path.read_bytes()
        return Keys(secret) if len(secret) == N_KEY_BYTES else None
    return None


def _make(path: Path) -> Keys:
    """Write a new key, or read the one that another process has written meanwhile. Raises `OSError`."""
    from filelock import FileLock  # not needed but at the first start

    with FileLock(path.with_suffix(".lock"), mode=0o600):
        known = _read(path)
        if known is not None:  # another process has made it meanwhile
            return known
        keys = Keys(os.urandom(N_KEY_BYTES))
        written = path.with_suffix(".new")
        written.unlink(missing_ok=True)  # with the rights that it has
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(keys.secret)
        written.replace(path)  # so that nobody reads half of it
        return keys
