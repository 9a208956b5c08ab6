"""Run the real server as a process of its own with a trace's text open, for `bench replay`, `compare` and `fleet`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench.traces import Excerpt
from starcoder_lsp.lsp.child import ServerEndedError
from starcoder_lsp.lsp.client import Client, connect

SETTINGS: dict[str, Any] = {
    "debounce": {"mode": "off"},
    "completion": {"maxTokens": 16},
    "context": {"maxTokens": 1536 + 384, "suffixShare": 0.2, "maxPrefillMs": 120_000},
    "host": {"shared": False},
}


@asynccontextmanager
async def replaying(excerpt: Excerpt, settings: Mapping[str, Any], model: Path) -> AsyncIterator[tuple[Client, str]]:
    """Yield a server that has the text open, and its URI. Raises `CommandError` if the server has no model or ends."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        uri = (root / excerpt.name).as_uri()
        nobody = {**os.environ, "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_STATE_HOME": folder}
        with_model = {**settings, "model": {"path": str(model), **settings.get("model", {})}}
        try:
            async with connect(with_model, root, encoding="utf-32", env=nobody) as client:
                for message in client.errors:
                    raise CommandError(message.removeprefix("starcoder-lsp: "))
                client.open(uri, "", excerpt.text)
                yield client, uri
        except ServerEndedError as error:
            raise CommandError(str(error)) from error
