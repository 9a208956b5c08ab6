"""Remote engines at a server that answers by a script, and what their user was shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from starcoder_lsp.engine.engine import (
    Cancellation,
    Generation,
    GenerationRequest,
    StopRule,
)
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.remote import disclosure
from starcoder_lsp.engine.remote.client import RemoteEngine
from starcoder_lsp.engine.remote.opening import open_remote
from starcoder_lsp.engine.vocabulary import read_vocabulary
from starcoder_lsp.engine_settings import EngineSettings
from starcoder_lsp.settings import Settings
from tests.scripted_server import ScriptedServer

MODELS = {"/v1/models": {"data": [{"id": "starcoder2-3b", "meta": {"n_ctx": 1024}}]}, "/tokenize": None}


TEXT = b"return total(x)[0]"
IDS = read_vocabulary(DEMONSTRATOR)[1].encode(TEXT)


BEFORE, BEHIND = b"def f(x):\n    ", b"\n"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the file that lists the hosts of which this user was told."""
    monkeypatch.setattr(disclosure, "state_file", lambda: tmp_path / "disclosed-hosts.json")


class UserMessages:
    """The messages and states that a user was shown."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.states: list[str] = []
        self.changed = asyncio.Event()

    def state(self, state: str) -> None:
        self.states.append(state)
        self.changed.set()


@asynccontextmanager
async def engine_at(
    server: ScriptedServer, user: UserMessages | None = None, **given: object
) -> AsyncIterator[RemoteEngine]:
    user = user or UserMessages()
    values = {"kind": "llama-server", "url": server.url, "vocabulary": str(DEMONSTRATOR), "timeout_ms": 2000, **given}
    _prompts, engine = await open_remote(Settings(engine=EngineSettings(**values)), user.messages.append, user.state)
    try:
        yield engine
    finally:
        await engine.close()


async def run_request(
    engine: RemoteEngine,
    heal: bytes = b"",
    max_tokens: int = 32,
    cancellation: Cancellation | None = None,
    rule: StopRule = lambda _text: None,
    timeout_ms: float = 5000,
) -> Generation:
    encode = engine.prompts.tokenizer.encode
    prompt = engine.prompts.fim.infill(encode(BEFORE), encode(BEHIND), (), heal)
    request = GenerationRequest("file:///a.py", prompt, max_tokens, timeout_ms)
    piece = engine.prompts.tokenizer.piece
    return await generate(engine, request, piece, rule, cancellation or Cancellation())


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def events_of(ids: Sequence[int], *, n_cached: int = 90, n_prompt: int = 10) -> list[bytes]:
    """Return the events of llama.cpp's server: one for each token, and the last one with counts."""
    timings = {"cache_n": n_cached, "prompt_n": n_prompt}
    return [
        *(
            event(
                {
                    "content": "",
                    "tokens": [token_id],
                    "stop": False,
                    "tokens_predicted": n + 1,
                    "timings": timings,
                    "completion_probabilities": [{"id": token_id, "logprob": -0.25}],
                }
            )
            for n, token_id in enumerate(ids)
        ),
        event({"stop": True, "stop_type": "eos", "tokens_predicted": len(ids), "timings": timings}),
    ]


async def leave(engine: RemoteEngine, server: ScriptedServer, n_sent: int) -> None:
    """Send one more request than `n_sent`, and supersede it before its first token."""
    cancellation = Cancellation()
    asking = asyncio.ensure_future(run_request(engine, cancellation=cancellation))
    while len(server.posts) == n_sent:
        await server.requested.wait()
        server.requested.clear()
    cancellation.cancel()
    await asking
