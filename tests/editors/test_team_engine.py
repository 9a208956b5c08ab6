"""Neovim with a remote engine: the settings are those of docs/teams.md, with another address and vocabulary."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from starcoder_lsp.engine.loading import DEMONSTRATOR
from tests.editors.conftest import EDITORS, LINE, ROOT, Desk, block
from tests.engines.servers import EngineServer, llama_server, vllm

TYPED = "    with op"


@pytest.fixture(params=["llama-server", "vllm"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    if request.param == "llama-server":
        with llama_server() as server:
            yield server
    elif os.environ.get("STARCODER_TEST_ENGINES") != "all":
        pytest.skip("vLLM is tested with STARCODER_TEST_ENGINES=all only: 550 MB to fetch, 2.8 GB of memory")
    else:
        with vllm(tmp_path_factory.mktemp("demonstrator")) as server:
            yield server


def settings_for(server: EngineServer) -> str:
    """Return the example of docs/teams.md, changed for a running engine of the tests."""
    found = re.search(r"```toml\n(.*?)```", (ROOT / "docs" / "teams.md").read_text(), re.DOTALL)
    assert found is not None
    text = found[1]
    for old, new in (
        ('kind = "vllm"', f'kind = "{server.kind}"'),
        ("https://gpu.example.com", server.url),
        ("~/models/starcoder2/tokenizer.json", str(DEMONSTRATOR)),
        ('apiKeyEnv = "TEAM_API_KEY"\n', ""),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.timeout(900)
def test_a_remote_engine_completes_in_neovim(desk: Desk, engine: EngineServer) -> None:
    desk.write(".config/starcoder-lsp/starcoder-lsp.toml", settings_for(engine))
    desk.write(".config/nvim/init.lua", block("Neovim", "lua"))
    desk.start(str(EDITORS / "bin" / "nvim"), f"+{LINE}", desk.file.name)
    shown = [message for message in desk.log.messages("server") if message.get("method") == "window/showMessage"]
    assert any(f"127.0.0.1:{engine.port}" in str(message) for message in shown), "the host that sees source text"
    desk.terminal.keys("Enter")
    desk.terminal.keys("i")
    desk.terminal.shows("INSERT")
    desk.terminal.type(TYPED)
    suggestion = desk.suggests(TYPED)
    desk.terminal.keys("C-y")
    desk.terminal.keys("Escape")
    desk.terminal.hides("-- INSERT --")
    desk.terminal.type(":w\n")
    desk.holds(TYPED + suggestion)
    desk.leave(":qa!", "Enter")
