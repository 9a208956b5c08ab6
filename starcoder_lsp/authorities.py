"""Find the certificate authorities to trust: the system's own, and a private one that the environment names."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl

VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""The variables that name a private authority's file or folder. Some systems set one of them for their own file, so all
count, and only the first one that is set must be readable."""


def verification(make_default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return a context that verifies servers; `make_default` makes one with the system's own authorities.

    Raises `OSError` for a file or folder that cannot be read.
    """
    named = tuple(dict.fromkeys(value for name in VARIABLES if (value := os.environ.get(name))))
    try:
        return _context(named, make_default)
    except OSError as error:
        where = f" in {named[0]}" if named else ""
        message = f"the certificate authorities{where} cannot be read ({error.strerror or error})"
        raise OSError(message) from error


@cache
def _context(named: tuple[str, ...], make_default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return a context that trusts the authorities in files and folders, too. Reading the system's own takes 30 ms."""
    import ssl

    if not named:
        return make_default()
    context = ssl.create_default_context()
    for place in named:
        try:
            context.load_verify_locations(**{"capath" if _is_folders(place) else "cafile": place})
        except OSError:
            if place == named[0]:
                raise
    return context


def _is_folders(place: str) -> bool:
    """Return whether a variable names folders: OpenSSL takes a list of them, as in PATH."""
    return any(Path(folder).is_dir() for folder in place.split(os.pathsep))
