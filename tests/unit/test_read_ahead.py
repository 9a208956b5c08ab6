"""Documents are read ahead, so that no request has to compile a query or tokenize many lines."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from starcoder_lsp.background import in_background
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.documents import languages
from starcoder_lsp.documents.documents import Documents, Snapshot
from starcoder_lsp.documents.languages import load_query
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import CompletionRequest, PromptBuilder, choose_window
from starcoder_lsp.session import read_ahead
from starcoder_lsp.session.read_ahead import ReadAhead
from starcoder_lsp.settings import Settings

SOURCE = Path(argparse.__file__).read_text()


@pytest.fixture
def snapshot() -> Snapshot:
    return Documents().open("file:///read.py", "", 1, SOURCE)


async def test_after_reading_ahead_a_window_compiles_no_query_and_tokenizes_little(
    prompts: PromptModel, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_query.cache_clear()
    builder, reader = PromptBuilder.reading(prompts), ReadAhead()
    reader.read(snapshot, Settings(), builder)
    await reader.settled()
    monkeypatch.setattr(languages, "query_source", lambda *_: pytest.fail("a query was compiled while a user waits"))
    n_tokenized = 0
    encode = type(prompts.tokenizer).encode

    def counted(self: object, text: bytes) -> tuple[int, ...]:
        nonlocal n_tokenized
        n_tokenized += len(text)
        return encode(self, text)

    monkeypatch.setattr(type(prompts.tokenizer), "encode", counted)
    n_shown = 0
    for line in range(0, snapshot.text.n_lines, 20):
        cursor_byte = snapshot.text.line_span(line)[1]
        fresh = evolve(builder, anchors=Anchors())
        window = choose_window(CompletionRequest(snapshot, cursor_byte, fresh, Settings()))
        n_shown += len(window.prefix.text) + len(window.suffix.text) + len(window.middle.text)
    assert n_shown > 5 * len(SOURCE)
    assert n_tokenized < n_shown / 10


async def test_a_document_is_read_once_for_a_model(prompts: PromptModel, snapshot: Snapshot) -> None:
    builder, reader = PromptBuilder.reading(prompts), ReadAhead()
    for model, n_tasks in ((None, 1), (None, 0), (builder, 1), (builder, 0), (None, 0)):
        reader.read(snapshot, Settings(), model)
        assert len(reader._tasks) == n_tasks
        await reader.settled()
        await asyncio.sleep(0)
    reader.forget(snapshot.uri)
    reader.read(snapshot, Settings(), builder)
    assert len(reader._tasks) == 1
    await reader.settled()


async def test_reading_ends_when_the_document_is_closed(prompts: PromptModel, snapshot: Snapshot) -> None:
    builder, reader = PromptBuilder.reading(prompts), ReadAhead()
    reader.read(snapshot, Settings(), builder)
    reader.forget(snapshot.uri)
    await reader.settled()
    assert not builder.tokenizer._known


async def test_at_most_one_step_waits_for_the_background_thread(
    prompts: PromptModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_waiting, most = 0, 0

    async def counted(work: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal n_waiting, most
        n_waiting += 1
        most = max(most, n_waiting)
        try:
            return await in_background(work, *arguments)
        finally:
            n_waiting -= 1

    monkeypatch.setattr(read_ahead, "in_background", counted)
    builder, reader, documents = PromptBuilder.reading(prompts), ReadAhead(), Documents()
    for number in range(20):
        reader.read(documents.open(f"file:///{number}.py", "", 1, f"x = {number}\n" * 20), Settings(), builder)
    await reader.settled()
    assert most == 1
    assert all(str(number).encode() in b"".join(builder.tokenizer._known) for number in range(20))


async def test_a_document_without_suggestions_is_not_read(prompts: PromptModel, snapshot: Snapshot) -> None:
    reader = ReadAhead()
    reader.read(snapshot, Settings(enabled=False), PromptBuilder.reading(prompts))
    assert not reader._tasks
