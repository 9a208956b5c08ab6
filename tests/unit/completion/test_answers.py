"""The pipeline from a document to suggestions: line ends, half-typed words, cancellation and deadlines."""

from __future__ import annotations

import asyncio
import random
import re
import threading
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from starcoder_lsp import completion as completion_module
from starcoder_lsp.completion import complete, to_completion
from starcoder_lsp.context.window import normalized
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.engine.engine import Cancellation, CompletionOutput, GenerationRequest
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.stream import TokenStream
from starcoder_lsp.prompting import (
    N_HEALED_TOKENS,
    CompletionRequest,
    Model,
    build_prompt,
    choose_window,
)
from starcoder_lsp.suggestions.cursor_context import describe_cursor
from tests.local_engine import LocalEngine
from tests.scripted import Scripted
from tests.unit.completion.requests import DEFAULTS, LONG_FILE, generation_of, opened, suggest

ROOT = Path(__file__).parents[3]


FILES = {
    "python": (ROOT / "starcoder_lsp/documents/text.py").read_text(),
    "rust": "use std::fmt;\n\npub fn total(values: &[u64]) -> u64 {\n    values.iter().sum()\n}\n\nstruct Naïve;\n",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfor i := range 10 {\n\t\tfmt.Println("größer")\n\t}\n}\n',
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("marked", ["def f():\n    █\n", "def f():\n    █", "def f():\n    █\n    c()\n"])
async def test_inserted_lines_have_the_documents_line_ends(prompts: PromptModel, line_end: str, marked: str) -> None:
    completion = await suggest(prompts, marked.replace("\n", line_end), "a()\n    b()")
    assert completion.text == f"a(){line_end}    b()"


async def test_carriage_returns_of_the_model_are_removed(prompts: PromptModel) -> None:
    assert (await suggest(prompts, "def f():\n    █\n", "a()\r\n    b()")).text == "a()\n    b()"
    assert (await suggest(prompts, "def f():\r\n    █\r\n", "a()\r\n    b()")).text == "a()\r\n    b()"
    assert (await suggest(prompts, "x = █\r\n", "1\r\n")).text == "1"


async def test_a_prompt_contains_no_carriage_return(prompts: PromptModel) -> None:
    snapshot = opened("a = 1\r\nb = 2\r\nc = \r\nd = 4\r\n")
    scripted = Scripted(prompts, b"3")
    completion = await complete(CompletionRequest(snapshot, 18, Model.of(prompts, scripted), DEFAULTS), Cancellation())
    sent = b"".join(map(prompts.tokenizer.piece, scripted.requests[0].prompt.ids))
    assert b"\r" not in sent
    assert (completion.cursor_byte, completion.end_byte, completion.text) == (18, 18, "3")


async def test_an_empty_suggestion_has_a_reason(prompts: PromptModel) -> None:
    assert (await suggest(prompts, "x = █\n", "")).reason == "stop_token"
    assert (await suggest(prompts, "x = █\n", "   ")).reason == "visible"
    assert (await suggest(prompts, "x = █\n", "\ny")).reason == "within_line"
    assert (await suggest(prompts, "x = █\n", "1")).reason == ""


@pytest.mark.parametrize("writes", ["1 + 2", "   ", ""])
async def test_a_cancelled_request_gets_no_text_and_the_reason_cancelled(prompts: PromptModel, writes: str) -> None:
    completion = await suggest(prompts, "x = █\n", writes, ends_by="cancelled")
    assert (completion.text, completion.reason) == ("", "cancelled")


@pytest.mark.parametrize("stage", ["describe_cursor", "to_completion"])
async def test_a_slow_stage_ends_at_the_deadline(
    prompts: PromptModel, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """The stage blocks until the test releases it, after the answer has come."""
    is_answered = threading.Event()
    monkeypatch.setattr(completion_module, stage, lambda *_given: is_answered.wait(60))
    settings = evolve(DEFAULTS, completion=evolve(DEFAULTS.completion, timeout_ms=100))
    snapshot = Documents().open("file:///a.py", "python", 1, "x = \n")
    request = CompletionRequest(snapshot, 4, Model.of(prompts, Scripted(prompts, b"1")), settings)
    try:
        completion = await complete(request, Cancellation())
        assert (completion.items, completion.reason) == ((), "timeout")
    finally:
        is_answered.set()


async def test_at_the_deadline_the_text_generated_so_far_is_used(
    prompts: PromptModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion_module, "MAX_LATE_S", 60.0)  # a busy machine may take longer to filter a text
    assert (await suggest(prompts, "x = █\n", "1 + ", ends_by="timeout")).text == "1"
    assert (await suggest(prompts, "def f():\n    █\n", "a()\n    b(c", ends_by="timeout")).text == "a()"
    completion = await suggest(prompts, "x = █\n", "", ends_by="timeout")
    assert (completion.text, completion.reason) == ("", "timeout")


class Interrupted:
    """The demonstrator; each request is cancelled as soon as its generation has begun."""

    def __init__(self, engine: LocalEngine, cancellation: Cancellation) -> None:
        self._engine, self._cancellation = engine, cancellation

    def generate(self, request: GenerationRequest) -> TokenStream:
        stream = self._engine.generate(request)
        self._cancellation.cancel()
        return stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


async def test_a_cancelled_generation_ends_before_its_first_token(prompts: PromptModel, engine: LocalEngine) -> None:
    cancellation = Cancellation()
    model = Model.of(prompts, Interrupted(engine, cancellation))
    completion = await complete(CompletionRequest(opened("import os\n" * 50), 500, model, DEFAULTS), cancellation)
    assert (completion.text, completion.reason) == ("", "cancelled")
    assert completion.generation is not None
    assert completion.generation.n_generated == 0
    await engine.settled()
    engine.check_cells()


async def test_a_request_that_is_cancelled_before_it_begins_costs_nothing(prompts: PromptModel) -> None:
    scripted, cancellation = Scripted(prompts, b"x"), Cancellation()
    model = Model.of(prompts, scripted)
    asking = asyncio.ensure_future(complete(CompletionRequest(opened("a = "), 4, model, DEFAULTS), cancellation))
    cancellation.cancel()
    completion = await asking
    assert (completion.text, completion.reason, completion.generation) == ("", "cancelled", None)
    assert scripted.requests == []
    assert model.anchors._by_uri == {}, "no window was chosen"


async def test_stages_are_timed(model: Model) -> None:
    timings = (await complete(CompletionRequest(opened("x = 1\ny = "), 10, model, DEFAULTS), Cancellation())).timings
    assert timings.total_ms >= timings.window_ms + timings.prefill_ms + timings.decode_ms > 0


async def test_prompt_and_answer_fit_the_context_whatever_the_settings(prompts: PromptModel) -> None:
    """Even if the settings ask for a longer answer than the context has room for."""
    snapshot = opened(LONG_FILE)
    completion_settings = evolve(DEFAULTS.completion, max_tokens=700)
    settings = evolve(DEFAULTS, completion=completion_settings, context=evolve(DEFAULTS.context, max_tokens=16_384))
    scripted = Scripted(prompts, b"x")
    for cursor_byte in (0, 9_000, len(snapshot.text.data)):
        await complete(CompletionRequest(snapshot, cursor_byte, Model.of(prompts, scripted), settings), Cancellation())
        assert len(scripted.requests[-1].prompt.ids) + 700 <= prompts.n_context
        assert cursor_byte == 0 or len(scripted.requests[-1].prompt.ids) > 800


async def test_a_suggestion_belongs_to_the_snapshot_of_its_request(model: Model) -> None:
    snapshot = opened("def add(a, b):\n    return a\n")
    completion = await complete(CompletionRequest(snapshot, 27, model, DEFAULTS), Cancellation())
    assert completion.snapshot is snapshot
    assert completion.cursor_byte == completion.end_byte == 27


def cursors_in_words(text: str) -> list[int]:
    """Return the cursors, in characters, that have a letter on either side."""
    return [n for n in range(1, len(text)) if text[n - 1].isalnum() and text[n].isalnum()]


@hypothesis_settings(deadline=None, max_examples=100)
@given(data=st.data(), language=st.sampled_from(sorted(FILES)), cuts_line=st.booleans())
def test_prompt_and_healed_text_together_are_the_text_before_the_cursor(
    model: Model,
    data: st.DataObject,
    language: str,
    cuts_line: bool,  # noqa: FBT001
) -> None:
    text = FILES[language]
    at = data.draw(st.sampled_from(cursors_in_words(text)))
    after = text[text.find("\n", at) :] if cuts_line else text[at:]
    snapshot, cursor_byte = opened(text[:at] + after, language), len(text[:at].encode())
    window = choose_window(CompletionRequest(snapshot, cursor_byte, model, DEFAULTS))
    prompt = build_prompt(window, model)
    ids = prompt.ids[1:]
    suffix_at, middle_at = ids.index(model.prompts.fim.suffix), ids.index(model.prompts.fim.middle)
    before = b"".join(map(model.tokenizer.piece, (*ids[:suffix_at], *ids[middle_at + 1 :]))) + prompt.heal
    assert prompt.heal
    assert before == window.prefix.text + window.middle.text
    assert normalized(snapshot.text.data[:cursor_byte]).endswith(before) or len(window.prefix.segments) > 1
    typed = re.search(r"\w+$", text[:at])
    assert typed is not None
    assert len(prompt.heal) >= len(typed[0].encode()) or len(model.tokenizer.encode(prompt.heal)) >= N_HEALED_TOKENS
    assert b"".join(map(model.tokenizer.piece, ids[suffix_at + 1 : middle_at])) == window.suffix.text


async def test_an_answer_inside_a_word_continues_that_word(model: Model) -> None:
    """The first tokens repeat the typed part of the word; the suggestion is the text after them."""
    rng = random.Random(4)
    n_new_tokens, settings = 0, evolve(DEFAULTS, completion=evolve(DEFAULTS.completion, max_tokens=6))
    for language, text in FILES.items():
        for at in rng.sample(cursors_in_words(text), 8):
            line_end = text.find("\n", at)
            snapshot, cursor_byte = opened(text[:at] + text[line_end:], language), len(text[:at].encode())
            prompt = build_prompt(choose_window(CompletionRequest(snapshot, cursor_byte, model, settings)), model)
            completion = await complete(CompletionRequest(snapshot, cursor_byte, model, settings), Cancellation())
            generation = completion.generation
            assert generation is not None
            (answer,) = generation.written
            written = b"".join(map(model.tokenizer.piece, answer.ids))
            spelled = prompt.heal + answer.text  # of a later draft that is shortened, all tokens are counted
            assert written.startswith(spelled) or spelled.startswith(written)
            assert answer.text.startswith(completion.text.encode())
            n_new_tokens += answer.ids[:1] != model.tokenizer.encode(prompt.heal)
    assert n_new_tokens > 5, "healing never chose another token than the one that it took back"


def test_an_incomplete_character_is_not_shown(model: Model) -> None:
    snapshot = opened("x = '")
    window = choose_window(CompletionRequest(snapshot, 5, model, DEFAULTS))
    half = generation_of(CompletionOutput("é".encode()[:1], (), (), "max_tokens"))
    shown = to_completion(window, describe_cursor(snapshot, 5, "auto"), half)
    assert (shown.text, shown.reason) == ("", "whole_characters")
