"""Address, headers and key of a remote engine: `engine.*`, checked."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Final, NoReturn
from urllib.parse import urlsplit

from attrs import field, frozen

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine_settings import EngineSettings

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_KEY_HEADERS: Final = re.compile(r"authorization|cookie|api-?key|token|secret|password", re.IGNORECASE)
_KEY_SHAPES: Final = re.compile(r"(?:sk|hf|nvapi|key|gsk|xai|pk)[-_]|eyJ|[0-9A-Fa-f]{32}")
"""The beginnings of keys: OpenAI's, Hugging Face's, NVIDIA's and others', a JWT, or a hexadecimal one. In capitals they
begin the usual names of variables, such as HF_TOKEN."""
PATHS: Final = ("/v1/completions", "/v1", "/completion", "/api/generate", "/generate_stream")
"""Ends of an address that users copy from documentation, although the protocol adds them."""
PATHS_OF: Final = {"ollama": ("/api",), "tgi": ("/generate",)}
"""The same for one kind; for the others such an end may be a gateway's own."""
NO_ADDRESS: Final = "engine.url is no address; it looks like https://gpu.example.com:8000"


@frozen
class Endpoint:
    """`url` has no `/` at its end. `key` never appears in a message or a representation."""

    kind: str
    url: str
    model: str
    timeout_s: float
    headers: tuple[tuple[str, str], ...] = ()
    session_headers: tuple[str, ...] = ()
    prompt_form: str = "ids"
    cache_salt: str = ""
    key: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc

    @property
    def hostname(self) -> str:
        """The host without its port, an IPv6 address in brackets."""
        name = urlsplit(self.url).hostname or ""
        return f"[{name}]" if ":" in name else name

    @property
    def is_on_this_machine(self) -> bool:
        """Return whether it is a loopback address."""
        return _is_loopback(self.hostname.strip("[]"))


def endpoint_of(settings: EngineSettings, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """Check the settings of a remote engine. Raises `EngineError`, whose text says what to change."""
    return Endpoint(
        kind=settings.kind,
        url=_url(settings),
        model=settings.model,
        timeout_s=settings.timeout_ms / 1000,
        headers=tuple(_header(each) for each in settings.headers),
        session_headers=tuple(_session_header(each) for each in settings.session_headers),
        prompt_form=settings.prompt_form,
        cache_salt=settings.cache_salt,
        key=_key(settings.api_key_env, environ),
    )


def _url(settings: EngineSettings) -> str:
    if not settings.url:
        _refuse(f'engine.kind is "{settings.kind}" and engine.url is empty: set it to the address of the server')
    try:
        parts = urlsplit(settings.url.strip())
        host, _port = parts.hostname, parts.port
    except ValueError:
        _refuse(NO_ADDRESS)
    if parts.scheme not in {"http", "https"} or not host:
        _refuse(NO_ADDRESS)
    if parts.username is not None or parts.password is not None:
        _refuse("engine.url has a name or password in it: put the key into a variable and name it in engine.apiKeyEnv")
    if parts.query or parts.fragment:
        _refuse("engine.url has a ? or # in it: only the server's address belongs there")
    if parts.scheme == "http" and not _is_loopback(host) and not settings.allow_http:
        _refuse(
            f"engine.url is http:// to {host}, where everybody on the way can read the source text: use https://, or"
            " set engine.allowHttp to true in a network that you trust"
        )
    path = parts.path.rstrip("/")
    end = next((end for end in (*PATHS, *PATHS_OF.get(settings.kind, ())) if path.endswith(end)), "")
    return f"{parts.scheme}://{parts.netloc}{path.removesuffix(end)}"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _header(line: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(line)
    if match is None:
        _refuse("engine.headers has an entry that is not `Name: value` in ASCII")
    if _KEY_HEADERS.search(match[1]):
        _refuse(
            f"engine.headers sets {match[1]}, and a key must not stand in a file of settings: put it into a variable"
            " of the environment and name that in engine.apiKeyEnv"
        )
    return match[1], match[2].strip()


def _session_header(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        _refuse("engine.sessionHeaders has an entry that is no name of a header")
    return name


def _key(name: str, environ: Mapping[str, str]) -> str:
    """Return the key in the variable. A name that may be a key itself is never quoted in a message."""
    if not name:
        return ""
    if not _NAME.fullmatch(name) or (_KEY_SHAPES.match(name) and name not in environ):
        _refuse(
            "engine.apiKeyEnv holds what looks like a key: write the name of an environment variable there, such as"
            " TEAM_API_KEY, and put the key into that variable"
        )
    key = environ.get(name, "").strip()
    if not key:
        _refuse(f"the environment variable {name}, which engine.apiKeyEnv names, is not set for the server's process")
    if not key.isascii() or not key.isprintable():
        _refuse(f"the environment variable {name}, which engine.apiKeyEnv names, holds characters that no key has")
    return key


def _refuse(message: str) -> NoReturn:
    raise EngineError(message)
