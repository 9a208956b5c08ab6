"""The URIs of documents: one spelling for each document, the path of a URI, and the texts of notebooks."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

_URI: Final = re.compile(r"(?:([a-z][a-z0-9+.-]+):)?(?://([^/]*))?(.*)", re.IGNORECASE | re.DOTALL)
_DRIVE: Final = re.compile(r"[a-z]:", re.IGNORECASE)
_BORDER: Final = re.compile(r"([/?#])")
_UNESCAPED: Final = "!$&'()*+,;=:@~"
"""Characters that a path may have unescaped, besides letters, digits and `_.-` (RFC 3986, section 3.3)."""


@lru_cache(maxsize=1024)
def normalized_uri(uri: str) -> str:
    """Return the normal form of a URI (RFC 3986, section 6.2.2).

    Editors escape different characters (`[id]`, `%5Bid%5D`, `%5bid%5d`) and spell drives differently (`C:`, `c%3A`).
    In a `file:` URI `?` and `#` belong to the name. An escaped slash stays escaped.
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
    """Return the path in a document's URI, unescaped, with `/` between its parts and no `/` before a drive."""
    [(scheme, authority, path)] = _URI.findall(uri)[:1]
    if scheme not in ("", "file"):
        path = re.split(r"[?#]", path, maxsplit=1)[0]
    path = unquote(path).replace("\\", "/")
    if scheme == "file" and authority and authority != "localhost":
        path = f"//{authority}{path}"
    return path[1:] if _DRIVE.match(path, 1) and path.startswith("/") else path


def joined_uri(notebook_uri: str, language_id: str) -> str:
    """Return the URI of a notebook's cells of one language as one text: the path, and the language id as the fragment.

    The scheme is not `file:`, where `#` belongs to the path. An absolute path follows an empty authority, since it may
    begin with two slashes.
    """
    path = path_of(notebook_uri)
    root = "//" if path.startswith("/") else ""
    return f"notebook:{root}{quote(path, errors='surrogatepass')}#{language_id}"
