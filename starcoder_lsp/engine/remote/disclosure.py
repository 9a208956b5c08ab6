"""Name each host that sees source text to the user, in one message at its first use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import platformdirs


def state_file() -> Path:
    """Return the file with the hosts that were named."""
    return platformdirs.user_state_path("starcoder-lsp", appauthor=False) / "disclosed-hosts.json"


def disclose(host: str, limits: Sequence[str], on_message: Callable[[str], None], path: Path | None = None) -> None:
    """Name a host and its limits to the user unless that was done before.

    If the file cannot be written, the message comes again next time.
    """
    path = path or state_file()
    named: list[object] = []
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        named = found if isinstance(found, list) else []
    if host in named:
        return
    more = f" With this engine: {'; '.join(limits)}." if limits else ""
    on_message(
        f"Source text around the cursor, and pieces of related files, are sent to {host}, as your setting engine.url"
        " says. This message comes once for each host; `starcoder-lsp doctor` and the status always name it." + more
    )
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.write_text(json.dumps([*named, host]))
        new.replace(path)
