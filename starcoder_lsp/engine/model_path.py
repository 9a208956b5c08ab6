"""Name the mistake in a model's path that cannot be a path: a URI, a web address, a variable, or a model's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from starcoder_lsp.engine.model_checks import CHOOSE_ANOTHER, refuse

_FILE_URI: Final = re.compile(r"file:/+", re.IGNORECASE)
_WEB: Final = re.compile(r"(?:https?|hf|ollama):/", re.IGNORECASE)
_VARIABLE: Final = re.compile(r"\$(?:\w+|\{\w+\})|%\w+%")
_HUB_FILE: Final = re.compile(r"[\w.-]+/[\w.-]+:[^/]+\.gguf")
_MAX_NAMED: Final = 5


def check_path(path: Path) -> None:
    """Raise `RefusedError` for a path that cannot mean a file, and name the mistake. A file of that name is one."""
    text = str(path)
    if path.exists():
        if path.is_dir():
            _refuse_folder(path)
        return
    if match := _FILE_URI.match(text):
        refuse("is a file:// URI, not a path", f"Write the path itself: /{unquote(text[match.end() :])}")
    if _WEB.match(text):
        advice = "Download the file first: starcoder-lsp models pull starcoder2-3b, or ORG/REPO:FILE"
        refuse("is a web address, not a path", advice)
    if match := _VARIABLE.search(text):
        refuse(
            f"has a variable, {match[0]}, which is not replaced", "Write the folder itself, or ~ for the home folder"
        )
    if _HUB_FILE.fullmatch(text):
        refuse("is the name of a file on the hub, not a path", f"Download it: starcoder-lsp models pull {text}")
    if re.fullmatch(r"starcoder[\w-]*", text):
        refuse("is a name, not a path", f"Set starcoder.model.name, or run starcoder-lsp models use {text}")


def _refuse_folder(path: Path) -> None:
    try:
        names = sorted(each.name for each in path.iterdir() if each.suffix == ".gguf")
    except OSError:
        names = []
    listed = ", ".join(names[:_MAX_NAMED])
    refuse("is a folder, not a file", f"Name a file in it: {listed}" if names else CHOOSE_ANOTHER)
