"""Match paths against the globs of the settings.

A relative glob (`*.pem`, `secret/**`) matches in every folder. A glob that names a folder matches everything in it.
Case is ignored: most globs keep files from the model, and one file too many is better than one too few. A workspace
may set globs, so they are matched in linear time.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from starcoder_lsp.documents.linear_patterns import LinearPattern, PatternError, compile_text

_PART: Final = re.compile(r"(?:\*\*/)+|\*+|\?|\[!?[^]/]+]|.", re.DOTALL)
_DRIVE: Final = re.compile(r"[a-z]:", re.IGNORECASE)


def matches(path: str, glob: str) -> bool:
    r"""Return whether `glob` matches the file at `path`, which has "/" between its parts.

    `*` and `?` stay within one part of a path, `**` crosses parts. `[a-z]`, `[!a-z]`, `{one,other}`, braces inside
    braces and a leading `~` work as in a shell; `\` counts as `/`.
    """
    path = path.encode("utf-8", "replace").decode()  # a lone surrogate is no text
    return bool(glob.strip()) and _pattern(glob.strip()).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _pattern(glob: str) -> LinearPattern[str]:
    glob = glob.encode("utf-8", "replace").decode().replace("\\", "/")
    if glob == "~" or glob.startswith("~/"):
        glob = Path.home().as_posix() + glob[1:]
    is_rooted = glob.startswith("/") or _DRIVE.match(glob) is not None
    anywhere = "" if is_rooted else "(?:.*/)?"
    glob = glob.removeprefix("./").rstrip("/")
    form = "(?is)" + anywhere + "{}(?:/.*)?"
    try:
        return compile_text(form.format(_translated(glob)))
    except PatternError:  # a range such as [z-a]
        return compile_text(form.format(re.escape(glob)))


def _translated(glob: str) -> str:
    parts = _PART.findall(glob)
    paired = _paired_braces(parts)
    meanings, depth = [], 0
    for at, part in enumerate(parts):
        if at in paired:
            depth += 1 if part == "{" else -1
            meanings.append("(?:" if part == "{" else ")")
        else:
            meanings.append("|" if part == "," and depth else _meaning(part))
    return "".join(meanings)


def _paired_braces(parts: list[str]) -> set[int]:
    """Return the indices of braces that open and close a list; the others stand for themselves."""
    opened, paired = list[int](), set[int]()
    for at, part in enumerate(parts):
        if part == "{":
            opened.append(at)
        elif part == "}" and opened:
            paired |= {opened.pop(), at}
    return paired


def _meaning(part: str) -> str:
    if part.endswith("*/"):
        return "(?:.*/)?"
    if part.startswith("*"):
        return "[^/]*" if part == "*" else ".*"
    if part == "?":
        return "[^/]"
    if part.startswith("[") and part.endswith("]"):
        is_negated = part[1] == "!"
        wanted = "".join(c if c == "-" else re.escape(c) for c in part[1 + is_negated : -1])
        return f"[{'^' if is_negated else ''}{wanted}]"
    return re.escape(part)
