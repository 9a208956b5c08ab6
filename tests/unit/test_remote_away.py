"""A session whose remote engine is away, at the start or later, and the local model as a fallback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from starcoder_lsp.engine.engine import EngineError, EngineLostError
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.remote import breaker, disclosure
from starcoder_lsp.engine_settings import EngineSettings
from starcoder_lsp.lsp.handlers.commands import diagnostics
from starcoder_lsp.session.session import Session
from starcoder_lsp.session.status import Status
from starcoder_lsp.settings import CompletionSettings, DebounceSettings, HostSettings, ModelSettings, Settings
from tests.scripted_server import Reply, scripted_server
from tests.unit.remote_engine import MODELS, events_of

URI = "file:///a.py"


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disclosure, "state_file", lambda: tmp_path / "disclosed-hosts.json")
    monkeypatch.setattr(breaker, "MIN_PAUSE_S", 0.01)
    monkeypatch.setattr(breaker, "MAX_PAUSE_S", 0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def settings(port: int, fallback: str = "none") -> Settings:
    engine = EngineSettings(
        kind="llama-server",
        url=f"http://127.0.0.1:{port}",
        vocabulary=str(DEMONSTRATOR),
        fallback=fallback,
        prefill_ahead="never",
    )
    return Settings(
        engine=engine,
        host=HostSettings(shared=False),
        model=ModelSettings(threads=1),
        debounce=DebounceSettings(mode="off"),
        completion=CompletionSettings(max_tokens=8),
    )


class Watched:
    """A session, with a record of its states and messages."""

    def __init__(self, given: Settings) -> None:
        self.session = Session(settings=given)
        self.states: list[Status] = []
        self.messages: list[str] = []
        self._changed = asyncio.Event()
        self.session.status.on_change = self._note

    def _note(self, status: Status) -> None:
        self.states.append(status)
        self._changed.set()

    async def until(self, is_so: Callable[[Status], bool]) -> Status:
        async with asyncio.timeout(100):
            while not self.states or not is_so(self.states[-1]):
                self._changed.clear()
                await self._changed.wait()
        return self.states[-1]

    async def load(self) -> None:
        await self.session.load_model(lambda _share: None, self.messages.append)

    async def complete(self) -> str | None:
        """Request a completion in an open document; return the stop reason, or `None` if the model was not called."""
        completion = await self.session.answering.complete(URI, 1, 4, automatic=True)
        generation = completion.generation if completion is not None else None
        return None if generation is None else generation.written[0].stop_reason


async def test_an_engine_that_is_away_at_the_start_is_used_once_it_answers() -> None:
    port = free_port()
    watched = Watched(settings(port))
    with pytest.raises(EngineLostError, match="Suggestions resume"):
        await watched.load()
    assert watched.states[-1].kind == "error"
    watched.session.documents.open(URI, "python", 1, "def f(x):\n    ")
    assert await watched.session.answering.complete(URI, 1, 4, automatic=True) is None, "a reply, and an empty one"
    async with scripted_server(MODELS, Reply(events_of([5])), port=port) as server:
        status = await watched.until(lambda status: status.kind == "ready")
        assert status.model == f"starcoder2-3b at 127.0.0.1:{port}"
        assert await watched.complete() == "stop_token"
        assert server.posts
        await watched.session.end()


@pytest.mark.parametrize(("row", "status"), [({"id": "other"}, 404), ({"meta": {"n_ctx": 512}}, 400)])
async def test_a_server_with_another_model_or_context_is_opened_anew(row: dict[str, object], status: int) -> None:
    first = {"id": "a", "meta": {"n_ctx": 1024}}
    pages = {**MODELS, "/v1/models": {"data": [first]}}
    refused, answers = Reply([b"{}"], status), [Reply(events_of([5]))] * 2
    async with scripted_server(pages, refused, *answers) as server:
        watched = Watched(settings(server.port))
        await watched.load()
        before = watched.session.slot.model
        watched.session.documents.open(URI, "python", 1, "def f(x):\n    ")
        pages["/v1/models"] = {"data": [{**first, **row}]}
        with pytest.raises(EngineError, match=str(status)):
            await watched.complete()
        async with asyncio.timeout(100):
            await asyncio.gather(*watched.session.slot._tasks)
        model = watched.session.slot.model
        assert model is not None
        assert model is not before
        assert model.prompts.n_context == {404: 1024, 400: 512}[status]
        assert await watched.complete() == "stop_token"
        assert server.posts[-1].body["model"] == row.get("id", "a")
        assert watched.states[-1].model == f"{row.get('id', 'a')} at 127.0.0.1:{server.port}"
        await watched.session.end()


async def test_a_refusal_alone_opens_nothing_anew() -> None:
    async with scripted_server(MODELS, Reply([b"{}"], 400)) as server:
        watched = Watched(settings(server.port))
        await watched.load()
        before = watched.session.slot.model
        for line in range(3):
            watched.session.documents.open(URI, "python", 1, f"def f(x{line}):\n    ")
            with pytest.raises(EngineError, match="400"):
                await watched.complete()
            watched.session.documents.close(URI)
            await asyncio.gather(*watched.session.slot._tasks)
        assert watched.session.slot.model is before
        assert [request.path for request in server.requests].count("/v1/models") == 2, "asked once more, and no more"
        await watched.session.end()


async def test_exported_diagnostics_name_neither_the_server_nor_its_files() -> None:
    pages = {**MODELS, "/v1/models": {"data": [{"id": "/home/alice/model.gguf", "meta": {"n_ctx": 1024}}]}}
    async with scripted_server(pages) as server:
        watched = Watched(settings(server.port))
        await watched.load()
        text = diagnostics(await watched.session.report(), watched.session)
        await watched.session.end()
    assert "llama-server" in text
    assert "1024" in text
    assert "alice" not in text
    assert str(server.port) not in text


async def test_an_engine_that_does_not_fit_the_settings_is_not_tried_again() -> None:
    async with scripted_server({"/v1/models": {"data": []}}) as server:
        watched = Watched(settings(server.port))
        with pytest.raises(EngineError, match="0 models") as raised:
            await watched.load()
        assert not isinstance(raised.value, EngineLostError)
        assert watched.states[-1].kind == "error"
        assert not watched.session.slot._tasks, "it would answer the same again"


async def test_the_local_model_answers_also_if_the_engine_does_not_fit_the_settings() -> None:
    port = free_port()
    watched = Watched(settings(port, fallback="local"))
    with pytest.raises(EngineLostError):
        await watched.load()
    await watched.until(lambda status: status.kind == "ready" and "cannot be reached" in str(status.model))
    async with scripted_server({"/v1/models": {"data": []}}, port=port):
        status = await watched.until(lambda status: "0 models" in f"{status.message} {status.model}")
        assert status.kind == "ready"
        watched.session.documents.open(URI, "python", 1, "def f(x):\n    ")
        assert await watched.complete() is not None
        await watched.session.end()


async def test_the_local_model_answers_only_while_the_engine_is_away() -> None:
    port = free_port()
    watched = Watched(settings(port, fallback="local"))
    with pytest.raises(EngineLostError):
        await watched.load()
    status = await watched.until(lambda status: status.kind == "ready")
    assert status.model is not None
    assert f"127.0.0.1:{port} cannot be reached" in status.model
    local = watched.session.slot.model
    assert local is not None
    assert local.prompts.n_bytes, "a file of this machine"
    watched.session.documents.open(URI, "python", 1, "def f(x):\n    ")
    assert await watched.complete() is not None
    away = Reply([b""], 503)
    answers = [Reply(events_of([5]))] * 2  # twice, since the first does not begin with the healed indentation
    async with scripted_server(MODELS, *answers, *[away] * 3, Reply(events_of([5])), port=port):
        await watched.until(lambda status: status.model == f"starcoder2-3b at 127.0.0.1:{port}")
        assert watched.session.slot.model is not local
        watched.session.documents.close(URI)
        watched.session.documents.open(URI, "python", 1, "def g(x):\n    ")
        assert await watched.complete() == "stop_token"
        for line in range(3):  # three failures: it is away again
            watched.session.documents.close(URI)
            watched.session.documents.open(URI, "python", 1, f"def f(x{line}):\n    ")
            with pytest.raises(EngineLostError):
                await watched.complete()
        await watched.until(lambda status: status.model == f"starcoder2-3b at 127.0.0.1:{port}")
        assert watched.session.slot.model is not None
        assert not watched.session.slot.model.prompts.n_bytes
        await watched.session.end()
    assert len([message for message in watched.messages if "come back" in message]) == 1
