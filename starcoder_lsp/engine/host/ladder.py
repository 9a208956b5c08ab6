"""The ladder: after a crash of llama.cpp the model is loaded a rung lower, with more features off.

The rung that worked is remembered for this CPU, this build of llama.cpp and this kind of model, so that the next start
does not crash first. A new build starts at the top. Only crashes count: a host that is killed did not crash.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import IntEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
from attrs import evolve

from starcoder_lsp.engine.host.options import HostOptions

CRASHES = {
    getattr(signal, name) for name in ("SIGSEGV", "SIGILL", "SIGABRT", "SIGBUS", "SIGFPE") if hasattr(signal, name)
}
"""Signals that a program causes itself."""


class Caution(IntEnum):
    """The rungs, from full speed down. Each includes the ones before."""

    FULL = 0
    PLAIN_WEIGHTS = 1
    NO_GPU = 2
    MINIMAL = 3


WHAT_IT_COSTS = {
    Caution.FULL: "",
    Caution.PLAIN_WEIGHTS: "weights laid out for this CPU (AMX, repacking) are off; prompts are read more slowly",
    Caution.NO_GPU: "the GPU is off, too; everything is several times slower",
    Caution.MINIMAL: "one thread and no flash attention, besides; everything is as slow as it can be",
}
"""The features that each rung turns off, as a message names them to the user."""


def next_rung(caution: Caution, options: HostOptions) -> Caution | None:
    """Return the rung after a crash on this one, or `None` after the last. A rung without an effect is skipped."""
    rungs = [rung for rung in Caution if rung > caution and (rung != Caution.NO_GPU or options.n_gpu_layers)]
    return rungs[0] if rungs else None


def careful(options: HostOptions, caution: Caution) -> HostOptions:
    """Return the options on a rung."""
    if caution >= Caution.PLAIN_WEIGHTS:
        options = evolve(options, use_extra_buffers=False)
    if caution >= Caution.NO_GPU:
        options = evolve(options, n_gpu_layers=0)
    if caution >= Caution.MINIMAL:
        options = evolve(options, n_threads=1, use_flash_attention=False)
    return evolve(options, caution=int(caution))


def is_crash(exit_code: int | None) -> bool:
    """Return whether a process crashed. On Windows the codes from 0xC0000000 on are crashes."""
    if exit_code is None:
        return False
    return -exit_code in CRASHES or exit_code >= 0xC0000000  # noqa: PLR2004


class LadderFile:
    """The remembered rungs: a small JSON file in the user's state folder.

    If it cannot be read or written, the next start crashes once more, and nothing else happens.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or platformdirs.user_state_path("starcoder-lsp", appauthor=False) / "ladder.json"

    def caution(self, kind: str) -> Caution:
        """Return the rung to start on for a kind of model."""
        entry = self._entries().get(self._key(kind), {})
        with suppress(ValueError, AttributeError):
            return Caution(entry.get("caution", 0))
        return Caution.FULL

    def remember(self, kind: str, caution: Caution, *, crash: Mapping[str, Any]) -> None:
        """Store the rung to start on from now on, and the `crash` that led there, with the time."""
        entries = self._entries()
        at = datetime.now(UTC).isoformat(timespec="seconds")
        entries[self._key(kind)] = {"caution": int(caution), "kind": kind, "crash": {"at": at, **crash}}
        self._write(entries)

    def forget(self, kinds: Iterable[str]) -> int:
        """Forget the crashes of these kinds of model on this CPU and build; return how many kinds had any."""
        entries = self._entries()
        n_before = len(entries)
        for kind in kinds:
            entries.pop(self._key(kind), None)
        if len(entries) < n_before:
            self._write(entries)
        return n_before - len(entries)

    def _write(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            new.write_bytes(msgspec.json.format(msgspec.json.encode(entries)))
            new.replace(self.path)

    def entry(self, kind: str) -> dict[str, Any]:
        """Return the entry of a kind of model on this CPU and build, or an empty one."""
        return self._entries().get(self._key(kind), {})

    def _key(self, kind: str) -> str:
        return sha256(repr((cpu(), build(), kind)).encode()).hexdigest()[:16]

    def _entries(self) -> dict[str, dict[str, Any]]:
        with suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, dict[str, Any]])
        return {}


def cpu() -> str:
    """Return the processor's name and features, as far as the system tells."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features"))))
    return f"{platform.machine()} {platform.processor()}"


def library_folder() -> Path | None:
    """Return the folder of llama.cpp's libraries, without loading them."""
    named = os.environ.get("LLAMA_CPP_LIB_PATH")
    if named:
        return Path(named)
    spec = importlib.util.find_spec("llama_cpp")
    return Path(spec.origin).parent / "lib" if spec is not None and spec.origin else None


def build() -> tuple[tuple[str, int, int], ...]:
    """Return what identifies a build of llama.cpp: its libraries' names, sizes and times."""
    folder, found = library_folder(), []
    with suppress(OSError):
        for path in sorted(folder.iterdir()) if folder is not None else ():
            stat = path.stat()
            found.append((path.name, stat.st_size, stat.st_mtime_ns))
    return tuple(found)
