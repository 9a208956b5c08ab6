"""The HTTP client for downloads, and the only importer of its library: 0.2 s that only a download should take."""

from __future__ import annotations

from typing import Final

import httpx2 as httpx

from starcoder_lsp import __version__
from starcoder_lsp.authorities import verification
from starcoder_lsp.models.errors import ModelsError

CONNECT_S: Final = 15.0
READ_S: Final = 30.0
"""The silence after which a connection counts as lost. Not measured."""

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
            verify=verification(httpx.create_ssl_context),
        )
    except (OSError, ValueError, ImportError) as error:  # a proxy or a certificate file that makes no sense
        message = f"the network cannot be used: {error}; check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE"
        raise ModelsError(message) from error
