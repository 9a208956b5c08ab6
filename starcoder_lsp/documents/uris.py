"""The URIs of documents: one spelling for each, and the path in it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

_URI: Final = re.compile(r"(?:([a-z][a-z0-9+.-]+):)?(?://([^/]*))?(.*)", re.IGNORECASE | re.DOTALL)
_DRIVE: Final = re.compile(r"[a-z]:", re.IGNORECASE)
_BORDER: Final = re.compile(r"([/?#])")
_UNESCAPED: Final = "!$&'()*+,;=:@~"
"""Beside letters, digits, `_.-` (RFC 3986, section 3.3)."""


@lru_cache(maxsize=1024)
def normalized_uri(uri: str) -> str:
    """Return the one spelling of a URI that all spellings of it have in common (RFC 3986, section 6.2.2).

    Editors differ in what they escape (`[id]`, `%5Bid%5D`, `%5bid%5d`) and in how they write a drive (`C:`, `c%3A`).
    In a `file:` URI `?` and `#` are characters of the name. An escaped slash stays one.
    """
    [(scheme, authority, path)] = _URI.findall(uri)[:1]
    if not scheme:
        return uri
    scheme, authority = scheme.lower(), authority.lower()
    parts = path.split("/") if scheme == "file" else _BORDER.split(path)
    parts = [part if part in ("/", "?", "#") and scheme != "file" else _escaped(part) for part in parts]
    if scheme != "file":
        return f"{scheme}:{_with_authority(uri, authority)}{''.join(parts)}"
    if len(parts) > 1 and not parts[0] and _DRIVE.fullmatch(parts[1]):
        parts[1] = parts[1].lower()
    return f"file://{'' if authority == 'localhost' else authority}{'/'.join(parts)}"


def _with_authority(uri: str, authority: str) -> str:
    return f"//{authority}" if uri.partition(":")[2].startswith("//") else ""


def _escaped(part: str) -> str:
    return quote(unquote_to_bytes(part.encode("utf-8", "surrogatepass")), safe=_UNESCAPED)


def path_of(uri: str) -> str:
    """The path in a document's URI with `/` between its parts, without percent escapes and without a drive's slash."""
    [(scheme, authority, path)] = _URI.findall(uri)[:1]
    if scheme not in ("", "file"):
        path = re.split(r"[?#]", path, maxsplit=1)[0]
    path = unquote(path).replace("\\", "/")
    if scheme == "file" and authority and authority != "localhost":
        path = f"//{authority}{path}"
    return path[1:] if _DRIVE.match(path, 1) and path.startswith("/") else path
