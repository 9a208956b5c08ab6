"""Whole lines: tokens that must be avoided, the place where a draft continues, and drafts of the demonstrator."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from attrs import evolve

from starcoder_lsp.completion import complete
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.engine.engine import Cancellation, Capabilities, GenerationRequest
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.stream import StopReason
from starcoder_lsp.prompting import CompletionRequest, Model
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.forks import Fork, closing, going_on
from tests.golden.test_suggestions import site_at
from tests.local_engine import LocalEngine
from tests.scripted import Scripted

SOURCE = Path(ast.__file__).with_name("textwrap.py").read_text()
"""A file that parses, and that the demonstrator was not trained on."""
WORDS = (b"", b"ret", b"return", b"x = foo(", b"\n", b"a\nb")


@pytest.mark.parametrize("heal", WORDS)
@pytest.mark.parametrize("avoid", [b"\n", b"\r\n ()", b"e"])
async def test_no_token_before_new_text_has_an_avoided_byte(
    engine: LocalEngine, prompts: PromptModel, heal: bytes, avoid: bytes
) -> None:
    encode, piece = prompts.tokenizer.encode, prompts.tokenizer.piece
    prompt = evolve(prompts.fim.infill(encode(b"def f(x):\n    "), encode(b"\n"), (), heal), avoid=avoid)
    request = GenerationRequest("avoid", prompt, max_new_tokens=12, timeout_ms=60_000)
    generation = await generate(engine, request, piece, lambda text: "new text" if text else None, Cancellation())
    written = generation.written[0]
    assert written.text, "the answer may not end there"
    whole = b"".join(map(piece, written.ids))
    assert whole == heal + written.text
    behind = written.text if not set(heal) & set(avoid) else written.text[len(written.text) :]
    assert not set(behind) & set(avoid)


@pytest.mark.parametrize(
    ("marked", "text", "reason", "wanted"),
    [
        ("x = foo(█\ny = 1\n", b"a, b\n", "line_end", Fork(b"a, b", avoid=b"\r\n")),
        ("if █:\n    pass\n", b"not", "stop_token", Fork(b"not", avoid=b"\r\n")),
        ("x = foo(█\ny = 1\n", b"a, b", "max_tokens", None),
        ("x = █\n", b"", "stop_token", None),
    ],
)
def test_a_line_that_ended_too_early_is_continued(marked: str, text: bytes, reason: str, wanted: Fork | None) -> None:
    assert going_on(text, reason, site_at(marked)) == wanted


@pytest.mark.parametrize(
    ("marked", "text", "kept", "forced"),
    [
        ("x = foo(█\ny = 1\n", b"a, ", b"a", b")"),
        ("x = foo(█)\n", b"a, [b", b"a, [b", b"]"),
        ("x = foo(█\n    b,\n)\n", b"a, [b", b"a, [b", b"]"),
        ("x = █\n", b'f("Hell', b'f("Hell', b'")'),
        ('x = f("█")\n', b"Hell", b"", b""),
        ("x = █\n", b"{'a': [1, 2,", b"{'a': [1, 2", b"]}"),
        ("x = █\n", b"[1, 2]", b"", b""),
        ("x = foo(█\ny = 1\n", b"0, 0, 0, 0, 0, 0", b"0", b")"),
    ],
)
def test_open_brackets_and_strings_are_closed_from_the_innermost(
    marked: str, text: bytes, kept: bytes, forced: bytes
) -> None:
    assert closing(text, site_at(marked)) == (Fork(kept, forced) if forced else None)


def places() -> list[tuple[int, int]]:
    """Return cursors in some lines of code, each behind the second word."""
    lines = SOURCE.split("\n")
    return [
        (n, line.index(word) + len(word))
        for n, line in enumerate(lines[60:], 60)
        if n % 37 == 0 and len(line.split()) > 2 and not line.lstrip().startswith(("#", '"'))
        for word in [line.split()[1]]
    ]


@pytest.fixture(scope="module")
def model(prompts: PromptModel, engine: LocalEngine) -> Model:
    return Model.of(prompts, engine)


async def test_a_suggestion_in_a_file_that_parses_leaves_a_file_that_parses(model: Model) -> None:
    shown = 0
    for line, column in places():
        lines = SOURCE.split("\n")
        before = "\n".join([*lines[:line], lines[line][:column]])
        after = "\n" + "\n".join(lines[line + 1 :])
        snapshot = Documents().open("file:///a.py", "python", 1, before + after)
        fresh = evolve(model, anchors=Anchors())
        request = CompletionRequest(snapshot, len(before.encode()), fresh, Settings())
        completion = await complete(request, Cancellation())
        data = snapshot.text.data
        if completion.text:
            shown += 1
            ast.parse(data[: completion.cursor_byte] + completion.text.encode() + data[completion.end_byte :])
    assert shown > len(places()) / 2


async def test_a_constraint_completes_a_line_and_reuses_the_cells_before_it(engine: LocalEngine, model: Model) -> None:
    """Without the constraint, the demonstrator ends this line with an open bracket."""
    before, after = "import os\n\n\ndef read(path):\n    return os.path.join(path,", "\n\n\nx = 1\n"
    snapshot = Documents().open("file:///a.py", "python", 1, before + after)
    request = CompletionRequest(snapshot, len(before), evolve(model, anchors=Anchors()), Settings())
    completion = await complete(request, Cancellation())
    data = snapshot.text.data
    assert completion.text
    ast.parse(data[: completion.cursor_byte] + completion.text.encode() + data[completion.end_byte :])
    await engine.settled()
    engine.check_cells()


@pytest.mark.parametrize("lacking", ["healing", "avoidance"])
async def test_an_engine_without_constraints_gets_one_request(prompts: PromptModel, lacking: str) -> None:
    engine = Scripted(prompts, b"foo(a,\n", capabilities=evolve(Capabilities(avoidance=True), **{lacking: False}))
    snapshot = Documents().open("file:///a.py", "python", 1, "x = \ny = 1\n")
    completion = await complete(
        CompletionRequest(snapshot, len("x = "), Model.of(prompts, engine), Settings()), Cancellation()
    )
    assert len(engine.requests) == 1
    assert "(" not in completion.text


async def test_each_further_draft_begins_with_the_kept_text(prompts: PromptModel) -> None:
    """An engine that never closes the bracket gets three drafts, and a shorter suggestion is shown."""
    engine = Scripted(prompts, b"foo(a,\n", capabilities=Capabilities(avoidance=True))
    snapshot = Documents().open("file:///a.py", "python", 1, "x = \ny = 1\n")
    completion = await complete(
        CompletionRequest(snapshot, len("x = "), Model.of(prompts, engine), Settings()), Cancellation()
    )
    first, goes_on, *closing_ones = engine.requests
    assert (first.prompt.avoid, goes_on.prompt.avoid) == (b"", b"\r\n")
    assert b"".join(map(prompts.tokenizer.piece, goes_on.prompt.ids)).endswith(b"x = foo(a,")
    assert [each.prompt.heal[-1:] for each in closing_ones] == [b")"] * len(closing_ones)
    assert completion.generation is not None
    assert completion.generation.written[0].stop_reason != StopReason.TIMEOUT
    ast.parse(f"x = {completion.text}\ny = 1\n")


async def test_if_no_part_of_a_draft_can_be_shown_others_begin_differently(model: Model) -> None:
    """The likeliest first token leads into a loop of open brackets."""
    before = "import os\n\n\ndef read(path):\n    with open(path) as "
    after = "\n\n\ndef write(path, text):\n    pass\n"
    snapshot = Documents().open("file:///a.py", "python", 1, before + after)
    request = CompletionRequest(snapshot, len(before), evolve(model, anchors=Anchors()), Settings())
    completion = await complete(request, Cancellation())
    assert completion.text
    is_header = completion.text.partition("#")[0].rstrip().endswith(":")
    ast.parse(before + completion.text + ("\n        pass" if is_header else "") + after)
