"""Which files a person's globs mean.

A glob without a root (`*.pem`, `secret/**`) is looked for in every folder, since which folder it starts from is not
known here. What names a folder means everything in it. Small and capital letters are the same: where a glob is there
to keep a file from the model, one file too many is better than one too few.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

_PART: Final = re.compile(r"(?:\*\*/)+|\*+|\?|\[!?[^]/]+]|\{[^{}]*}|.", re.DOTALL)
_DRIVE: Final = re.compile(r"[a-z]:", re.IGNORECASE)


def matches(path: str, glob: str) -> bool:
    r"""Whether `glob` means the file at `path`.

    `*` and `?` stay within one part of a path, `**` does not; `[a-z]`, `[!a-z]`, `{one,other}` and a leading `~` are
    known, and `\` is `/`.
    """
    return bool(glob.strip()) and _pattern(glob.strip()).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    glob = glob.replace("\\", "/")
    if glob == "~" or glob.startswith("~/"):
        glob = Path.home().as_posix() + glob[1:]
    is_rooted = glob.startswith("/") or _DRIVE.match(glob) is not None
    anywhere = "" if is_rooted else "(?:.*/)?"
    glob = glob.removeprefix("./").rstrip("/")
    try:
        return re.compile(f"{anywhere}{_translated(glob)}(?:/.*)?", re.IGNORECASE | re.DOTALL)
    except re.error:  # a range such as [z-a]
        return re.compile(f"{anywhere}{re.escape(glob)}(?:/.*)?", re.IGNORECASE | re.DOTALL)


def _translated(glob: str) -> str:
    return "".join(map(_meaning, _PART.findall(glob)))


def _meaning(part: str) -> str:
    if part.endswith("*/"):
        return "(?:.*/)?"
    if part.startswith("*"):
        return "[^/]*" if part == "*" else ".*"
    if part == "?":
        return "[^/]"
    if part.startswith("{") and part.endswith("}"):
        return f"(?:{'|'.join(map(_translated, part[1:-1].split(',')))})"
    if part.startswith("[") and part.endswith("]"):
        is_negated = part[1] == "!"
        wanted = "".join(c if c == "-" else re.escape(c) for c in part[1 + is_negated : -1])
        return f"[{'^' if is_negated else ''}{wanted}]"
    return re.escape(part)
