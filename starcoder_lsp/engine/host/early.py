"""Start the host of the last start again, before this process knows its settings.

Reading settings and importing what connects to a host takes as long as loading a small model. So the last host's
options are recorded under all that is known at once: the client's first message and the user's files, hashed. The next
process with the same hash starts that host first. A host that turns out to be another than the wanted one is ended.

This module is imported before the client's first message is answered: it imports little.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import platformdirs
from attrs import asdict, define, field, frozen

from starcoder_lsp import __version__

MAX_RECORDS: Final = 16
"""Not measured; a user has some editors, with some settings each."""
VARIABLES: Final = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "TMPDIR", "LLAMA_CPP_LIB_PATH")
"""Variables of the environment that change the host or its files."""

END_IF_UNUSED: Final = getattr(signal, "SIGUSR2", signal.SIGTERM)
"""The signal on which a host without clients ends. Where there is no such signal, every host ends."""

Stamp = list[int] | None
"""Size and time of a file; `None` if it is not there."""


def spawn(name: str, options: str, log: Path) -> subprocess.Popen[bytes]:
    """Start the process of a host; `options` are JSON. Raises `OSError` if the system cannot."""
    command = [sys.executable, "-m", "starcoder_lsp", "host", name, options]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        return subprocess.Popen(  # noqa: S603  our own program
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, start_new_session=True
        )


def own_name(key: str) -> str:
    """Return a name for a host that no other server knows; `key` is that of its options."""
    return f"{key}-{os.getpid()}-{os.urandom(4).hex()}"


@frozen
class HostRecord:
    """A host: the key of its options, the folder of its socket, its options as JSON, and its model's files."""

    key: str
    is_shared: bool
    folder: str
    options: str
    files: dict[str, Stamp]

    @classmethod
    def of(cls, key: str, options: str, folder: Path, paths: list[str], *, is_shared: bool) -> HostRecord:
        """Return the record of a host with these model files."""
        return cls(key, is_shared, str(folder), options, {path: _stamp(path) for path in paths})

    @classmethod
    def read(cls, value: Any) -> HostRecord | None:
        """Return the record that `json.loads` read, or `None` if it is none."""
        try:
            record = cls(**value)
            valid = all(isinstance(each, str) for each in (record.key, record.folder, record.options))
            return record if valid and isinstance(record.files, dict) else None
        except TypeError:
            return None

    @property
    def can_start(self) -> bool:
        """Return whether the files are as they were and, as far as its files tell, no such host is running."""
        running = (Path(self.folder) / (self.key + ending) for ending in (".sock", ".port"))
        is_same = all(_stamp(path) == stamp for path, stamp in self.files.items())
        return is_same and Path(self.folder).is_dir() and not (self.is_shared and any(map(Path.exists, running)))


@frozen(eq=False)
class _Started:
    record: HostRecord
    name: str
    process: subprocess.Popen[bytes]


@define(eq=False)
class EarlyStart:
    """At most one host that was started before it was wanted for certain. Used by one thread at a time."""

    path: Path = field(factory=lambda: platformdirs.user_state_path("starcoder-lsp", appauthor=False) / "hosts.json")
    _circumstances: str = ""
    """The hash under which the host of this process is recorded; empty if it is not."""
    _started: _Started | None = None

    def begin(self, known: object, settings_file: Path) -> None:
        """Start the host that was recorded when the same was `known`, with the same settings file."""
        variables = [os.environ.get(name) for name in VARIABLES]
        program = (__version__, __file__, sys.executable)
        text = json.dumps((known, variables, program, _stamp(str(settings_file))), sort_keys=True, default=str)
        self._circumstances = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        record = HostRecord.read(self._records().get(self._circumstances))
        if record is None or not record.can_start:
            return
        name = record.key if record.is_shared else own_name(record.key)
        with suppress(OSError):  # the process is started again when it is needed, and the error reported
            process = spawn(name, record.options, Path(record.folder) / f"{name}.log")
            self._started = _Started(record, name, process)

    def settle(self, wanted: HostRecord | None) -> str:
        """Record the host that is wanted, `None` if none may be started, and end another one.

        Return the name of the host that was started early, if it is wanted, or an empty one.
        """
        if self._circumstances:
            self._write(None if wanted is None else asdict(wanted))
        if wanted is None:
            self._circumstances = ""
        if self._started is None or self._started.record != wanted:
            self.end()
            return ""
        return self._started.name

    def take(self, name: str, options: str) -> subprocess.Popen[bytes] | None:
        """Return the process that was started early under this name; `None` if there is none with these options."""
        started = self._started
        if started is None or (started.name, started.record.options) != (name, options):
            self.end()
            return None
        self._started = None
        return started.process

    def end(self) -> None:
        """End the host unless another server uses it. A thread waits for its end, so that no zombie stays."""
        started, self._started = self._started, None
        if started is not None:
            started.process.send_signal(END_IF_UNUSED if started.record.is_shared else signal.SIGTERM)
            threading.Thread(target=started.process.communicate, name="early host", daemon=True).start()

    def _records(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, RecursionError):
            records = json.loads(self.path.read_bytes())
            return records if isinstance(records, dict) else {}
        return {}

    def _write(self, record: dict[str, Any] | None) -> None:
        """Write or remove the record of these circumstances, if it changes. Without a file nothing starts early."""
        records = self._records()
        if records.get(self._circumstances) == record:
            return
        others = {key: each for key, each in records.items() if key != self._circumstances}
        new = others if record is None else {**others, self._circumstances: record}
        kept = dict(list(new.items())[-MAX_RECORDS:])
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            file.write_text(json.dumps(kept))
            file.replace(self.path)


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116  a path object for each costs more
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


EARLY = EarlyStart()
"""The host that this process has started early."""
