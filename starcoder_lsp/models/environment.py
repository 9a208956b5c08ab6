"""Read the hub's address, the user's token and the offline switch from the environment.

The variables are those of `huggingface_hub`, so its configuration works here, too.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from starcoder_lsp.models.errors import ModelsError

ENDPOINT: Final = "https://huggingface.co"
_TRUE: Final = {"1", "on", "yes", "true"}


@frozen
class Environment:
    """The hub's address, the user's token or an empty string, and whether downloads are forbidden."""

    endpoint: str
    token: str
    is_offline: bool

    @classmethod
    def read(cls) -> Environment:
        """Read the variables. Raises `ModelsError` for an `HF_ENDPOINT` that is no address."""
        endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or ENDPOINT
        if not endpoint.startswith(("https://", "http://")):
            message = f"HF_ENDPOINT is {endpoint!r}; expected an address such as {ENDPOINT}"
            raise ModelsError(message)
        offline = any(is_true(name) for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
        return cls(endpoint, _token(), offline)

    def refuse_offline(self, what: str) -> None:
        """Raise `ModelsError` if the user does not want the network to be used."""
        if self.is_offline:
            message = (
                f"HF_HUB_OFFLINE is set, so {what} is not downloaded; unset it, or take a file that is here:"
                " starcoder-lsp models use PATH"
            )
            raise ModelsError(message)


def is_true(name: str) -> bool:
    """Return whether a variable has a value that `huggingface_hub` takes for true."""
    return os.environ.get(name, "").strip().lower() in _TRUE


def hub_home() -> Path:
    """Return the folder of `huggingface_hub`: `$HF_HOME`, or `huggingface` in the user's cache folder."""
    named = os.environ.get("HF_HOME")
    if named:
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache).expanduser() if cache else Path.home() / ".cache") / "huggingface"


def hub_cache() -> Path:
    """Return the folder of files that `huggingface_hub` downloaded."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := os.environ.get(name):
            return Path(named).expanduser()
    return hub_home() / "hub"


def _token() -> str:
    """Return `$HF_TOKEN`, or the token that `hf auth login` has stored."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := os.environ.get(name, "").strip():
            return token
    if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return ""
    path = Path(os.environ.get("HF_TOKEN_PATH") or hub_home() / "token").expanduser()
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""
