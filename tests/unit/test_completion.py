"""The pipeline from a document to a suggestion, on the demonstrator and on an engine that writes what it is told."""

from __future__ import annotations

import _pydecimal
import asyncio
import random
import re
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from starcoder_lsp import completion as completion_module
from starcoder_lsp.completion import Completion, complete, to_completion
from starcoder_lsp.context.window import normalized
from starcoder_lsp.documents.documents import MAX_BYTES, Documents, Snapshot
from starcoder_lsp.documents.globs import matches
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.engine.engine import Cancellation, CompletionOutput, Generation, GenerationRequest, Prefilled, Prompt
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.stream import TokenStream
from starcoder_lsp.prompting import (
    MIN_COLD_TOKENS,
    N_HEALED_TOKENS,
    CompletionRequest,
    Model,
    build_prompt,
    choose_window,
    decline_reason,
    n_cold_tokens,
    prepare,
)
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.cursor_context import describe_cursor
from tests.local_engine import LocalEngine
from tests.scripted import Scripted

ROOT = Path(__file__).parents[2]
DEFAULTS = Settings()
LONG_FILE = Path(_pydecimal.__file__).read_text()
FILES = {
    "python": (ROOT / "starcoder_lsp/documents/text.py").read_text(),
    "rust": "use std::fmt;\n\npub fn total(values: &[u64]) -> u64 {\n    values.iter().sum()\n}\n\nstruct Naïve;\n",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfor i := range 10 {\n\t\tfmt.Println("größer")\n\t}\n}\n',
}


def generation_of(*written: CompletionOutput) -> Generation:
    return Generation(written, 1, 0, 1, 0.0, 0.0, 0.0)


@pytest.fixture(scope="session")
def model(prompts: PromptModel, engine: LocalEngine) -> Model:
    return Model.of(prompts, engine)


def opened(text: str, language: str = "python", uri: str = "file:///src/a.py") -> Snapshot:
    return Documents().open(uri, language, 1, text)


async def suggest(prompts: PromptModel, marked: str, writes: str, *, ends_by: str = "stop_token") -> Completion:
    """What is shown at `█` where the model writes `writes` and then ends, or says no more until somebody else ends it.

    That is a timeout or a cancel.
    """
    before, _, after = marked.partition("█")
    scripted, cancellation, settings = Scripted(prompts, writes.encode(), ends_by), Cancellation(), DEFAULTS
    if ends_by == "timeout":
        settings = evolve(DEFAULTS, completion=evolve(DEFAULTS.completion, timeout_ms=100))
    model = Model.of(prompts, scripted)
    asking = asyncio.ensure_future(
        complete(CompletionRequest(opened(before + after), len(before.encode()), model, settings), cancellation)
    )
    if ends_by == "cancelled":
        await scripted.begun.wait()
        cancellation.cancel()
    return await asking


# Which documents


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (evolve(DEFAULTS, enabled=False), "enabled"),
        (evolve(DEFAULTS, languages=("rust", "go")), "languages"),
        (evolve(DEFAULTS, disabled_globs=("**/*.env", "src/**")), "'src/**'"),
    ],
)
async def test_a_document_is_declined_without_asking_the_model(
    prompts: PromptModel, settings: Settings, reason: str
) -> None:
    scripted = Scripted(prompts, b"x")
    completion = await complete(
        CompletionRequest(opened("a = "), 4, Model.of(prompts, scripted), settings), Cancellation()
    )
    assert completion.text == ""
    assert reason in completion.reason
    assert (completion.generation, completion.window, scripted.requests) == (None, None, [])


@pytest.mark.parametrize("text", ["a = 1\n\0", "x" * (MAX_BYTES + 1)])
async def test_binary_and_huge_documents_are_declined(model: Model, text: str) -> None:
    completion = await complete(
        CompletionRequest(opened(text, language="plaintext"), 0, model, DEFAULTS), Cancellation()
    )
    assert completion.text == ""
    assert completion.reason


@pytest.mark.parametrize(
    ("language_id", "uri", "languages", "is_wanted"),
    [
        ("python", "file:///a.py", (), True),
        ("python", "file:///a.py", ("python",), True),
        ("python", "file:///a.py", ("rust",), False),
        ("", "file:///a.py", ("python",), True),  # the command line knows a file's name only
        ("python3", "file:///a", ("python",), True),
        ("python3", "file:///a", ("python3",), True),
        ("my-own-language", "file:///a.mine", ("my-own-language",), True),
        ("", "file:///a.mine", ("python",), False),
    ],
)
def test_languages(language_id: str, uri: str, languages: tuple[str, ...], is_wanted: bool) -> None:  # noqa: FBT001
    reason = decline_reason(opened("x", language_id, uri), evolve(DEFAULTS, languages=languages))
    assert (reason == "") == is_wanted
    assert is_wanted or "languages" in reason


PATHS = [
    ("file:///home/me/a%20b/%C3%A9.py", "/home/me/a b/é.py"),
    ("file:///c%3A/Users/me/a.py", "c:/Users/me/a.py"),
    ("file:///C:/Users/me/a.py", "C:/Users/me/a.py"),
    ("file://localhost/a.py", "/a.py"),
    ("file://server/share/a.py", "//server/share/a.py"),
    ("untitled:Untitled-1", "Untitled-1"),
    ("vscode-remote://ssh-remote%2Bhost/home/me/.env", "/home/me/.env"),
    ("vscode-notebook-cell:/home/me/a.ipynb#W0sZmlsZQ%3D%3D", "/home/me/a.ipynb"),
    ("file:///a%23b.py", "/a#b.py"),
    ("/home/me/a.py", "/home/me/a.py"),
    ("file://[broken", "//[broken"),
    ("", ""),
]


@pytest.mark.parametrize(("uri", "path"), PATHS)
def test_the_path_of_a_uri(uri: str, path: str) -> None:
    assert path_of(uri) == path


@given(st.text())
def test_every_text_has_some_path(text: str) -> None:
    assert "\\" not in path_of(text)
    assert path_of("file:///p/" + quote(text)) == "/p/" + text.replace("\\", "/")


ENV = "/home/me/project/config/prod.env"
GLOBS = [
    ("**/*.env", ENV, True),
    ("*.env", ENV, True),
    (".env", ENV, False),
    (".env", "/home/me/.env", True),
    ("**/.env*", "/home/me/.env.local", True),
    ("*.ENV", ENV, True),
    ("prod.env", ENV, True),
    ("od.env", ENV, False),
    ("config", ENV, True),
    ("config/", ENV, True),
    ("config/**", ENV, True),
    ("config/*", ENV, True),
    ("./config/*.env", ENV, True),
    ("fig/**", ENV, False),
    ("project/**/*.env", ENV, True),
    ("project/*.env", ENV, False),
    ("project/**/config/**", ENV, True),
    ("/home/me/project/**", ENV, True),
    ("/home/me/project", ENV, True),
    ("/home/me/proj", ENV, False),
    ("/project/**", ENV, False),
    ("**", ENV, True),
    ("*", ENV, True),
    ("", ENV, False),
    (" ", ENV, False),
    ("*.{pem,env,key}", ENV, True),
    ("*.{pem,key}", ENV, False),
    ("{config,secret}/**", ENV, True),
    ("prod.en?", ENV, True),
    ("prod.en[a-v]", ENV, True),
    ("prod.en[!a-v]", ENV, False),
    ("prod.env[", ENV, False),
    ("[z-a]", ENV, False),
    ("[z-a].py", "/x/[z-a].py", True),
    ("a+b.(1).py", "/x/a+b.(1).py", True),
    ("secret dir/*", "/home/me/secret dir/é.py", True),
    ("C:\\Users\\me\\**", "c:/Users/me/a.py", True),
    ("secret\\**", "c:/Users/secret/a.py", True),
    ("~/secret/**", (Path.home() / "secret/a.py").as_posix(), True),
    ("~other/**", "/home/~other/a.py", True),
    ("**/secret/**", "secret/a.py", True),
    ("Untitled-*", "Untitled-1", True),
]


@pytest.mark.parametrize(("glob", "path", "is_meant"), GLOBS)
def test_which_files_a_glob_means(glob: str, path: str, is_meant: bool) -> None:  # noqa: FBT001
    assert matches(path, glob) == is_meant


@given(
    glob=st.text(st.sampled_from("ab/.*?[]{},!-\\~"), max_size=12), path=st.text(st.sampled_from("ab/."), max_size=9)
)
def test_every_glob_means_whole_folders_in_small_and_capital_letters(glob: str, path: str) -> None:
    is_meant = matches(path, glob)
    assert matches(path.upper(), glob) == is_meant
    assert matches(f"{path}/deeper/in.py", glob) or not is_meant


def test_a_glob_is_matched_against_the_decoded_path() -> None:
    settings = evolve(DEFAULTS, disabled_globs=("mein geheimnis/*.py",))
    assert decline_reason(opened("x", uri="file:///home/mein%20geheimnis/a.py"), settings)
    assert not decline_reason(opened("x", uri="file:///home/kein%20geheimnis/a.py"), settings)


# What is shown


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("marked", ["def f():\n    █\n", "def f():\n    █", "def f():\n    █\n    c()\n"])
async def test_inserted_lines_end_as_the_document_does(prompts: PromptModel, line_end: str, marked: str) -> None:
    completion = await suggest(prompts, marked.replace("\n", line_end), "a()\n    b()")
    assert completion.text == f"a(){line_end}    b()"


async def test_line_ends_that_the_model_writes_are_no_part_of_the_text(prompts: PromptModel) -> None:
    assert (await suggest(prompts, "def f():\n    █\n", "a()\r\n    b()")).text == "a()\n    b()"
    assert (await suggest(prompts, "def f():\r\n    █\r\n", "a()\r\n    b()")).text == "a()\r\n    b()"
    assert (await suggest(prompts, "x = █\r\n", "1\r\n")).text == "1"


async def test_the_prompt_has_no_carriage_return(prompts: PromptModel) -> None:
    snapshot = opened("a = 1\r\nb = 2\r\nc = \r\nd = 4\r\n")
    scripted = Scripted(prompts, b"3")
    completion = await complete(CompletionRequest(snapshot, 18, Model.of(prompts, scripted), DEFAULTS), Cancellation())
    sent = b"".join(map(prompts.tokenizer.piece, scripted.requests[0].prompt.ids))
    assert b"\r" not in sent
    assert (completion.cursor_byte, completion.end_byte, completion.text) == (18, 18, "3")


async def test_an_empty_text_has_a_reason(prompts: PromptModel) -> None:
    assert (await suggest(prompts, "x = █\n", "")).reason == "stop_token"
    assert (await suggest(prompts, "x = █\n", "   ")).reason == "visible"
    assert (await suggest(prompts, "x = █\n", "\ny")).reason == "within_line"
    assert (await suggest(prompts, "x = █\n", "1")).reason == ""


@pytest.mark.parametrize("writes", ["1 + 2", "   ", ""])
async def test_a_cancelled_request_shows_nothing_and_says_so(prompts: PromptModel, writes: str) -> None:
    completion = await suggest(prompts, "x = █\n", writes, ends_by="cancelled")
    assert (completion.text, completion.reason) == ("", "cancelled")


@pytest.mark.parametrize("stage", ["describe_cursor", "to_completion"])
async def test_a_slow_stage_is_no_late_answer(
    prompts: PromptModel, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """The stage goes on until the test lets it: the answer is there before."""
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


async def test_after_a_timeout_there_is_what_there_is_by_then(prompts: PromptModel) -> None:
    assert (await suggest(prompts, "x = █\n", "1 + ", ends_by="timeout")).text == "1"
    assert (await suggest(prompts, "def f():\n    █\n", "a()\n    b(c", ends_by="timeout")).text == "a()"
    completion = await suggest(prompts, "x = █\n", "", ends_by="timeout")
    assert (completion.text, completion.reason) == ("", "timeout")


class Interrupted:
    """The demonstrator on a machine where every request is cancelled as soon as it began."""

    def __init__(self, engine: LocalEngine, cancellation: Cancellation) -> None:
        self._engine, self._cancellation = engine, cancellation

    def generate(self, request: GenerationRequest) -> TokenStream:
        stream = self._engine.generate(request)
        self._cancellation.cancel()
        return stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


async def test_a_real_cancel_ends_it_before_anything_is_written(prompts: PromptModel, engine: LocalEngine) -> None:
    cancellation = Cancellation()
    model = Model.of(prompts, Interrupted(engine, cancellation))
    completion = await complete(CompletionRequest(opened("import os\n" * 50), 500, model, DEFAULTS), cancellation)
    assert (completion.text, completion.reason) == ("", "cancelled")
    assert completion.generation is not None
    assert completion.generation.n_generated == 0
    await engine.settled()
    engine.check_cells()


async def test_what_is_cancelled_before_its_turn_costs_nothing(prompts: PromptModel) -> None:
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


async def test_prompt_and_answer_fit_the_context(prompts: PromptModel) -> None:
    """Whatever the settings say."""
    snapshot = opened(LONG_FILE)
    completion_settings = evolve(DEFAULTS.completion, max_tokens=700)
    settings = evolve(DEFAULTS, completion=completion_settings, context=evolve(DEFAULTS.context, max_tokens=16_384))
    scripted = Scripted(prompts, b"x")
    for cursor_byte in (0, 9_000, len(snapshot.text.data)):
        await complete(CompletionRequest(snapshot, cursor_byte, Model.of(prompts, scripted), settings), Cancellation())
        assert len(scripted.requests[-1].prompt.ids) + 700 <= prompts.n_context
        assert cursor_byte == 0 or len(scripted.requests[-1].prompt.ids) > 800


async def test_the_suggestion_is_for_the_snapshot_that_was_asked_about(model: Model) -> None:
    snapshot = opened("def add(a, b):\n    return a\n")
    completion = await complete(CompletionRequest(snapshot, 27, model, DEFAULTS), Cancellation())
    assert completion.snapshot is snapshot
    assert completion.cursor_byte == completion.end_byte == 27


# In the middle of a word


def cursors_in_words(text: str) -> list[int]:
    """Offsets in characters with a letter on either side."""
    return [n for n in range(1, len(text)) if text[n - 1].isalnum() and text[n].isalnum()]


@hypothesis_settings(deadline=None, max_examples=100)
@given(data=st.data(), language=st.sampled_from(sorted(FILES)), cuts_line=st.booleans())
def test_prompt_and_heal_are_the_text_up_to_the_cursor(
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


async def test_what_is_written_in_a_word_continues_it(model: Model) -> None:
    """The first tokens spell what was typed of the word, and the text is what comes behind that."""
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
            spelled = prompt.heal + answer.text  # a part of a later draft has the tokens of all of it
            assert written.startswith(spelled) or spelled.startswith(written)
            assert answer.text.startswith(completion.text.encode())
            n_new_tokens += answer.ids[:1] != model.tokenizer.encode(prompt.heal)
    assert n_new_tokens > 5, "healing never chose another token than the one that it took back"


def test_showing_nothing_of_half_a_character(model: Model) -> None:
    snapshot = opened("x = '")
    window = choose_window(CompletionRequest(snapshot, 5, model, DEFAULTS))
    half = generation_of(CompletionOutput("é".encode()[:1], (), (), "max_tokens"))
    shown = to_completion(window, describe_cursor(snapshot, 5, "auto"), half)
    assert (shown.text, shown.reason) == ("", "whole_characters")


# From one request to the next


async def test_typing_evaluates_little(model: Model) -> None:
    """Each letter at the end of a long file costs a few tokens; the first request paid for all of them."""
    text = LONG_FILE[:60_000]
    settings = evolve(DEFAULTS, completion=evolve(DEFAULTS.completion, max_tokens=1))
    costs = []
    for letter in "\n\ndef total(values):\n    return sum(":
        text += letter
        request = CompletionRequest(opened(text), len(text.encode()), model, settings)
        completion = await complete(request, Cancellation())
        assert completion.generation is not None
        costs.append(completion.generation.n_evaluated)
    assert costs[0] > 1000
    assert sorted(costs)[-2] < 32
    assert sum(costs[1:]) / len(costs[1:]) < 4


class Slow:
    """The demonstrator as a machine would run it that evaluates `prefill_speed` tokens a second."""

    def __init__(self, engine: LocalEngine, prefill_speed: float) -> None:
        self._engine, self.prefill_speed = engine, prefill_speed

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


LONG = "import os\n\n" + "def f(x):\n    return x + 1\n\n\n" * 300
TYPED_AT = len(LONG) // 2


@given(st.floats(0, 1e5), st.integers(50, 120_000))
def test_a_cold_prompt_takes_no_longer_than_it_may(
    prompts: PromptModel, tokens_per_s: float, max_prefill_ms: int
) -> None:
    model = Model.of(prompts, Scripted(prompts, prefill_speed=tokens_per_s))
    n_tokens = n_cold_tokens(model, max_prefill_ms)
    if n_tokens > MIN_COLD_TOKENS and tokens_per_s:
        assert n_tokens / tokens_per_s * 1000 <= max_prefill_ms
    assert n_tokens >= MIN_COLD_TOKENS


async def test_a_slow_machine_begins_with_a_narrow_window_and_goes_on_with_a_whole_one(
    prompts: PromptModel, engine: LocalEngine
) -> None:
    model = Model.of(prompts, Slow(engine, 100.0))
    settings = evolve(DEFAULTS, context=evolve(DEFAULTS.context, max_prefill_ms=2000))
    cursor_byte, cancelled = TYPED_AT, Cancellation(is_cancelled=True)
    narrow = await complete(CompletionRequest(opened(LONG, "python"), cursor_byte, model, settings), Cancellation())
    assert 100 < narrow.window.n_tokens <= 200
    before = opened(LONG, "python")
    assert not (await prepare(CompletionRequest(before, cursor_byte, model, settings), cancelled)).is_complete
    assert choose_window(CompletionRequest(before, cursor_byte, model, settings)).budget == narrow.window.budget
    assert (await prepare(CompletionRequest(before, cursor_byte, model, settings), Cancellation())).is_complete
    typed = opened(LONG[:cursor_byte] + "x" + LONG[cursor_byte:], "python")
    whole = await complete(CompletionRequest(typed, cursor_byte + 1, model, settings), Cancellation())
    assert whole.window.n_tokens > 1000
    assert whole.generation.n_evaluated <= 2
    assert (await prepare(CompletionRequest(typed, cursor_byte + 1, model, settings), Cancellation())).n_evaluated <= 1


async def test_what_is_prepared_is_not_remembered_once_it_is_not_wanted(
    prompts: PromptModel, engine: LocalEngine
) -> None:
    """A later text may be remembered by then, which the window of an earlier one would push aside."""
    cancellation = Cancellation()

    class Late(Slow):
        async def prefill(self, document: str, prompt: Prompt, given: Cancellation) -> Prefilled:
            prefilled = await self._engine.prefill(document, prompt, given)
            cancellation.cancel()
            return prefilled

    model = Model.of(prompts, Late(engine, 100.0))
    prefilled = await prepare(CompletionRequest(opened(LONG, "python"), TYPED_AT, model, DEFAULTS), cancellation)
    assert prefilled.is_complete
    assert not model.anchors._by_uri["file:///src/a.py"].windows


@pytest.mark.parametrize("is_from_top", [True, False])
@pytest.mark.parametrize("cursor_byte", [0, 1, 2, 10**9])
async def test_any_place_can_be_prepared(
    prompts: PromptModel, engine: LocalEngine, cursor_byte: int, *, is_from_top: bool
) -> None:
    snapshot = opened("é = 'ö'\n" * 20, "python")
    request = CompletionRequest(snapshot, cursor_byte, Model.of(prompts, engine), DEFAULTS)
    assert (await prepare(request, Cancellation(), is_from_top=is_from_top)).is_complete
    off = evolve(request, settings=evolve(DEFAULTS, enabled=False))
    assert await prepare(off, Cancellation(), is_from_top=is_from_top) is None
