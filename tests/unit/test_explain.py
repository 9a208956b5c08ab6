"""`explain` shows exactly the prompt that the engine gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from starcoder_lsp.context.explain import PromptSegment, explain, list_segments
from starcoder_lsp.context.new_window import new_window
from starcoder_lsp.context.snippet import Snippet
from starcoder_lsp.context.window import Budget, CrossFileContext, Window
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.engine.engine import Prompt
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import PromptBuilder, build_prompt

SOURCE = (Path(__file__).parents[2] / "starcoder_lsp/documents/syntax.py").read_text()
MARKERS = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")


@pytest.fixture(scope="session")
def model(prompts: PromptModel) -> PromptBuilder:
    return PromptBuilder.reading(prompts)


def explained_at(model: PromptBuilder, text: str, n_characters: int, n_tokens: int) -> tuple[Window, Prompt, dict]:
    snapshot = Documents().open("file:///a.py", "python", 1, text)
    cursor_byte = len(text[:n_characters].encode())
    window = new_window(snapshot, cursor_byte, Budget(n_tokens, 0.2), model.tokenizer)
    prompt = build_prompt(window, model)
    return window, prompt, explain(window, prompt, model.tokenizer, "src/a.py")


@settings(deadline=None, max_examples=40)
@given(at=st.integers(0, len(SOURCE)), n_tokens=st.sampled_from([64, 300, 1900]))
def test_the_shown_prompt_equals_the_sent_ids(model: PromptBuilder, at: int, n_tokens: int) -> None:
    window, prompt, explained = explained_at(model, SOURCE, at, n_tokens)
    prefix, suffix, middle = (part.text.decode() for part in (window.prefix, window.suffix, window.middle))
    assert explained["prompt"] == f"{MARKERS[0]}{prefix}{MARKERS[1]}{suffix}{MARKERS[2]}{middle}"
    assert explained["promptTokens"] == len(prompt.ids)
    assert explained["budgetTokens"] == n_tokens
    assert middle.endswith(explained["healed"])
    assert bool(explained["healed"]) == bool(middle)


@settings(deadline=None, max_examples=40)
@given(at=st.integers(0, len(SOURCE)), n_tokens=st.sampled_from([64, 300, 1900]))
def test_the_segments_cover_the_prompt(model: PromptBuilder, at: int, n_tokens: int) -> None:
    window, prompt, explained = explained_at(model, SOURCE, at, n_tokens)
    segments = explained["segments"]
    lines = SOURCE.splitlines(keepends=True)
    for part, kind in ((window.prefix, "prefix"), (window.suffix, "suffix"), (window.middle, "middle")):
        own = [s for s in segments if s["kind"] == kind]
        assert len(own) == len(part.segments)
        for s, segment in zip(own, part.segments, strict=True):
            text = "".join(lines[s["startLine"] - 1 : s["endLine"]]).encode()
            named = SOURCE.encode()[segment.start_byte : segment.end_byte]
            assert named in text
            assert len(named.splitlines()) == s["endLine"] - s["startLine"] + 1
    n_own = sum(s["tokens"] for s in segments)
    n_healed = 1 if prompt.heal else 0
    assert abs(n_own - (len(prompt.ids) - len(MARKERS) + n_healed)) <= 3 * len(segments)
    assert all(s["path"] == "src/a.py" and s["why"] and s["tokens"] > 0 for s in segments)


def test_an_empty_document_has_no_segments(model: PromptBuilder) -> None:
    _, prompt, explained = explained_at(model, "", 0, 64)
    assert explained["segments"] == []
    assert explained["prompt"] == "".join(MARKERS)
    assert explained["promptTokens"] == len(prompt.ids) == 3


def test_the_answer_is_json_and_names_language_and_format(model: PromptBuilder) -> None:
    _, _, explained = explained_at(model, SOURCE, 5000, 300)
    assert json.loads(json.dumps(explained)) == explained
    assert explained["language"] == "Python"
    assert explained["format"] == "starcoder2/psm"


def test_a_character_split_between_tokens_is_shown_whole(model: PromptBuilder) -> None:
    """The bytes to heal may begin inside a character."""
    n_split = 0
    for word in ("é😀", "😀é", "😀éé", "日本語😀", "🏳️‍🌈", "ab😀é"):
        text = f"x = '{word}"
        _, prompt, explained = explained_at(model, text, len(text), 64)
        assert explained["prompt"].endswith(text)
        n_split += prompt.heal[0] & 0xC0 == 0x80
    assert n_split > 0


def test_markers_in_the_text_are_plain_text(model: PromptBuilder) -> None:
    text = "a = '<fim_middle><|endoftext|>'\n"
    window, prompt, explained = explained_at(model, text, len(text), 64)
    assert explained["prompt"].count("<fim_middle>") == 2
    assert (
        sum(i in {model.prompts.fim.prefix, model.prompts.fim.suffix, model.prompts.fim.middle} for i in prompt.ids)
        == 3
    )
    assert window.prefix.text.decode() == text


def test_a_snippet_of_another_file_is_the_first_segment(model: PromptBuilder) -> None:
    window, *_ = explained_at(model, SOURCE, 100, 300)
    text = b"def g(x):\n    return x\n"
    ids = model.tokenizer.encode(text)
    other = Snippet("lib/b.py", 40, 40 + len(text), 3, 4, text, ids, "defines g")
    window = evolve(window, cross_file=CrossFileContext((other,), model.prompts.fim.frame, len(ids)))
    first, *own = list_segments(window, model.tokenizer, "src/a.py")
    assert first == PromptSegment("snippet", "lib/b.py", 3, 4, len(ids), "defines g", text)
    assert {each.path for each in own} == {"src/a.py"}
