"""Real engines, each started once for all tests that use it, and clients for them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.remote.client import RemoteEngine
from starcoder_lsp.engine.remote.opening import open_remote
from starcoder_lsp.engine_settings import EngineSettings
from starcoder_lsp.settings import Settings
from tests.engines.servers import EngineServer, llama_server, vllm


@pytest.fixture(scope="session")
def llama() -> Iterator[EngineServer]:
    """llama.cpp's own server."""
    with llama_server() as server:
        yield server


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """vLLM on the CPU. It takes half a minute and 2.8 GB, so it runs only on request."""
    if os.environ.get("STARCODER_TEST_ENGINES") != "all":
        pytest.skip("vLLM is tested with STARCODER_TEST_ENGINES=all only: 550 MB to fetch, 2.8 GB of memory")
    with vllm(tmp_path_factory.mktemp("demonstrator")) as server:
        yield server


@pytest.fixture(params=["llama-server", "vllm"])
def server(request: pytest.FixtureRequest) -> EngineServer:
    """Each engine that takes ids."""
    name = "llama" if request.param == "llama-server" else "vllm_server"
    running: EngineServer = request.getfixturevalue(name)
    return running


@asynccontextmanager
async def opened(
    server: EngineServer, messages: list[str] | None = None, states: list[str] | None = None, **engine: object
) -> AsyncIterator[tuple[PromptModel, RemoteEngine]]:
    """An `Engine` for a running server."""
    given = {"kind": server.kind, "url": server.url, "vocabulary": str(DEMONSTRATOR), **engine}
    settings = Settings(engine=EngineSettings(**given))
    changes, texts = [] if states is None else states, [] if messages is None else messages
    prompts, remote = await open_remote(settings, texts.append, changes.append)
    try:
        yield prompts, remote
    finally:
        await remote.close()
