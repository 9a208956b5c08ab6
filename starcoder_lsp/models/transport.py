"""The HTTP client for downloads, and the only importer of its library: 0.2 s that only a download should take."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2 as httpx

from starcoder_lsp import __version__
from starcoder_lsp.models.errors import ModelsError

if TYPE_CHECKING:
    import ssl

CONNECT_S: Final = 15.0
READ_S: Final = 30.0
"""The silence after which a connection counts as lost. Not measured."""
_CA_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""The variables that name a private certificate authority, the library's own variables before those of others."""

Client = httpx.AsyncClient
Response = httpx.Response
TransportError = httpx.TransportError
"""The errors of a connection. `ModelsError` stands for what cannot be mended by trying again."""
URL = httpx.URL


def open_client(read_s: float = READ_S) -> Client:
    """Return a client that honours the proxies and certificate authorities of the environment. Raises `ModelsError`."""
    try:
        return httpx.AsyncClient(
            timeout=httpx.Timeout(read_s, connect=CONNECT_S),
            headers={"User-Agent": f"starcoder-lsp/{__version__}", "Accept-Encoding": "identity"},
            verify=_verification(),
        )
    except (OSError, ValueError, ImportError) as error:  # a proxy or a certificate file that makes no sense
        message = f"the network cannot be used: {error}; look at HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE"
        raise ModelsError(message) from error


def _verification() -> ssl.SSLContext:
    """Return how servers are verified: by the authorities that the environment names beside the system's own.

    Raises `OSError` for a file or folder that cannot be read.
    """
    named = next((value for name in _CA_VARIABLES if (value := os.environ.get(name))), "")
    try:
        return _context(named)
    except OSError as error:
        message = f"the certificate authorities in {named} cannot be read ({error.strerror or error})"
        raise OSError(message) from error


@cache
def _context(named: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a file or folder, too. Reading the system's own takes 30 ms."""
    import ssl

    if not named:
        return httpx.create_ssl_context()
    context = ssl.create_default_context()
    context.load_verify_locations(**{"capath" if Path(named).is_dir() else "cafile": named})
    return context
