"""Read and write small JSON files in the user's state folder."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs


def state_path(name: str) -> Path:
    """Return the path of the file `name` in the platform's folder for states."""
    return platformdirs.user_state_path("starcoder-lsp", appauthor=False) / name


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one for a file that is missing, unreadable or anything else."""
    with suppress(OSError, ValueError, RecursionError):
        read = json.loads(path.read_bytes())
        if isinstance(read, dict):
            return read
    return {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a file whole, so that a reader sees the old object or the new one. Raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(json.dumps(value, indent=1) + "\n", "utf-8")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
