"""Engines on real hosts, in a new folder for each test, and hosts that crash."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field

from starcoder_lsp.engine.engine import Cancellation, Generation, GenerationRequest, Prompt
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.host.address import is_alive, known_names
from starcoder_lsp.engine.host.client import HostEngine
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.model_file import check_model_file
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.settings import Settings

CRASHING = Path(__file__).parent / "crashing"
ROOT = Path(__file__).parents[2]
TEXT = b"import os\n\n\ndef read(path):\n    with open("


@define
class Hosts:
    """The folder for sockets, the file that counts starts, and the engines of a test."""

    prompts: PromptModel
    folder: Path
    starts: Path
    engines: list[HostEngine] = field(factory=list)
    messages: list[str] = field(factory=list)
    states: list[str] = field(factory=list)
    _loads: asyncio.Event = field(factory=asyncio.Event)

    def engine(self, **changes: Any) -> HostEngine:
        """Make an engine without starting it."""
        model = check_model_file(DEMONSTRATOR)
        options = HostOptions.of(Settings(), model)
        options = evolve(options, **({"idle_s": 0.0, "n_threads": 1} | changes))
        engine = HostEngine(options, model.architecture, self.messages.append, on_state=self.on_state)
        self.engines.append(engine)
        return engine

    async def started(self, **changes: Any) -> HostEngine:
        engine = self.engine(**changes)
        await engine.start()
        return engine

    @property
    def n_starts(self) -> int:
        """The number of hosts that imported llama.cpp."""
        return len(self.starts.read_text().splitlines()) if self.starts.exists() else 0

    def prompt(self, text: bytes = TEXT) -> Prompt:
        return self.prompts.fim.infill(self.prompts.tokenizer.encode(text), self.prompts.tokenizer.encode(b"\nx = 1\n"))

    async def run_request(
        self, engine: HostEngine, text: bytes = TEXT, document: str = "doc", **given: Any
    ) -> Generation:
        request = GenerationRequest(
            **({"document": document, "prompt": self.prompt(text), "max_new_tokens": 8, "timeout_ms": 60_000} | given)
        )
        return await generate(engine, request, self.prompts.tokenizer.piece, lambda _text: None, Cancellation())

    async def wait_for_loss(self) -> None:
        """Wait until an engine has noticed the death of its host."""
        await self._loads.wait()
        self._loads.clear()

    def on_state(self, state: str) -> None:
        """Record an engine's new state."""
        self.states.append(state)
        if state == "loading":
            self._loads.set()

    def alive(self) -> list[str]:
        folder = self.folder / "starcoder-lsp"
        return [name for name in known_names(folder) if is_alive(folder, name)]


@pytest.fixture
async def hosts(prompts: PromptModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hosts]:
    with tempfile.TemporaryDirectory(prefix="slsp-") as folder:  # pytest's own path is too long for a socket
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", f"{CRASHING}:{ROOT}")
        monkeypatch.setenv("STARTS", str(tmp_path / "starts"))
        made = Hosts(prompts, Path(folder), tmp_path / "starts")
        yield made
        for engine in made.engines:
            await engine.close()


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes later hosts crash at a stage, while they run above a rung of the ladder."""

    def begin(stage: str, how: str, rung: int = 4) -> None:
        monkeypatch.setenv("CRASH", f"{stage}/{how}/{rung}")

    return begin
