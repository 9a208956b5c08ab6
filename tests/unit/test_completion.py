"""The pipeline from a document to a suggestion, on the demonstrator and on an engine that writes what it is told."""

from __future__ import annotations

import _pydecimal
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from starcoder_lsp.completion import Completion, complete, show
from starcoder_lsp.context.window import normalized
from starcoder_lsp.documents.documents import MAX_BYTES, Documents, Snapshot
from starcoder_lsp.documents.globs import matches, path_of
from starcoder_lsp.engine.engine import (
    CachedDocument,
    Cancelled,
    Engine,
    Generation,
    GenerationRequest,
    ModelInfo,
    Prefilled,
    Prompt,
    StopRule,
    Written,
)
from starcoder_lsp.engine.tokens import Tokenizer
from starcoder_lsp.prompting import (
    N_HEALED_TOKENS,
    N_LEAST_COLD_TOKENS,
    Model,
    ask,
    n_cold_tokens,
    prepare,
    see,
    why_not,
)
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.site import describe_site

ROOT = Path(__file__).parents[2]
DEFAULTS = Settings()
FILES = {
    "python": (ROOT / "starcoder_lsp/documents/text.py").read_text(),
    "rust": "use std::fmt;\n\npub fn total(values: &[u64]) -> u64 {\n    values.iter().sum()\n}\n\nstruct Naïve;\n",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfor i := range 10 {\n\t\tfmt.Println("größer")\n\t}\n}\n',
}


def generation_of(*written: Written) -> Generation:
    return Generation(written, 1, 0, 1, 0.0, 0.0, 0.0)


class Scripted:
    """An engine that writes `text` token by token and asks the stop rule, as the real one does."""

    def __init__(self, engine: Engine, text: bytes = b"", stop_reason: str = "stop_token") -> None:
        self.info: ModelInfo = engine.info
        self.tokenizer: Tokenizer = engine.tokenizer
        self.text, self.stop_reason = text, stop_reason
        self.requests: list[GenerationRequest] = []

    def generate(self, request: GenerationRequest, stop: StopRule, _cancelled: Cancelled) -> Generation:
        self.requests.append(request)
        written, ids, reason = b"", [], None
        for token_id in self.tokenizer.encode(self.text):
            written += self.tokenizer.piece(token_id)
            ids.append(token_id)
            reason = stop(written)
            if reason:
                break
        return generation_of(Written(written, tuple(ids), (0.0,) * len(ids), reason or self.stop_reason))

    prefill_speed = 0.0

    def prefill(self, _document: str, prompt: Prompt, _cancelled: Cancelled) -> Prefilled:
        return Prefilled(len(prompt.ids), is_complete=True)

    def forget(self, document: str) -> None: ...

    def put_away(self, document: str) -> None: ...

    def cached(self) -> Iterator[CachedDocument]:
        yield from ()

    def close(self) -> None: ...


@pytest.fixture(scope="session")
def model(engine: Engine) -> Model:
    return Model.of(engine)


def opened(text: str, language: str = "python", uri: str = "file:///src/a.py") -> Snapshot:
    return Documents().open(uri, language, 1, text)


def suggest(engine: Engine, marked: str, writes: str, *, stop_reason: str = "stop_token", **options: str) -> Completion:
    """What is shown at `█` where the model writes `writes`."""
    before, _, after = marked.partition("█")
    scripted = Model.of(Scripted(engine, writes.encode(), stop_reason))
    return complete(opened(before + after, **options), len(before.encode()), scripted, DEFAULTS, lambda: False)


# Which documents


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (evolve(DEFAULTS, enabled=False), "enabled"),
        (evolve(DEFAULTS, languages=("rust", "go")), "languages"),
        (evolve(DEFAULTS, disabled_globs=("**/*.env", "src/**")), "'src/**'"),
    ],
)
def test_a_document_is_declined_without_asking_the_model(engine: Engine, settings: Settings, reason: str) -> None:
    scripted = Scripted(engine, b"x")
    completion = complete(opened("a = "), 4, Model.of(scripted), settings, lambda: False)
    assert completion.text == ""
    assert reason in completion.reason
    assert (completion.generation, completion.window, scripted.requests) == (None, None, [])


@pytest.mark.parametrize("text", ["a = 1\n\0", "x" * (MAX_BYTES + 1)])
def test_binary_and_huge_documents_are_declined(model: Model, text: str) -> None:
    completion = complete(opened(text, language="plaintext"), 0, model, DEFAULTS, lambda: False)
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
    reason = why_not(opened("x", language_id, uri), evolve(DEFAULTS, languages=languages))
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
def test_every_text_has_some_path(uri: str) -> None:
    assert isinstance(path_of(uri), str)


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
def test_every_glob_has_some_meaning(glob: str, path: str) -> None:
    assert matches(path, glob) in {True, False}


def test_a_glob_is_matched_against_the_decoded_path() -> None:
    settings = evolve(DEFAULTS, disabled_globs=("mein geheimnis/*.py",))
    assert why_not(opened("x", uri="file:///home/mein%20geheimnis/a.py"), settings)
    assert not why_not(opened("x", uri="file:///home/kein%20geheimnis/a.py"), settings)


# What is shown


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("marked", ["def f():\n    █\n", "def f():\n    █", "def f():\n    █\n    c()\n"])
def test_inserted_lines_end_as_the_document_does(engine: Engine, line_end: str, marked: str) -> None:
    completion = suggest(engine, marked.replace("\n", line_end), "a()\n    b()")
    assert completion.text == f"a(){line_end}    b()"


def test_line_ends_that_the_model_writes_are_no_part_of_the_text(engine: Engine) -> None:
    assert suggest(engine, "def f():\n    █\n", "a()\r\n    b()").text == "a()\n    b()"
    assert suggest(engine, "def f():\r\n    █\r\n", "a()\r\n    b()").text == "a()\r\n    b()"
    assert suggest(engine, "x = █\r\n", "1\r\n").text == "1"


def test_the_prompt_has_no_carriage_return(engine: Engine) -> None:
    snapshot = opened("a = 1\r\nb = 2\r\nc = \r\nd = 4\r\n")
    scripted = Scripted(engine, b"3")
    completion = complete(snapshot, 18, Model.of(scripted), DEFAULTS, lambda: False)
    sent = b"".join(map(engine.tokenizer.piece, scripted.requests[0].prompt.ids))
    assert b"\r" not in sent
    assert (completion.cursor_byte, completion.end_byte, completion.text) == (18, 18, "3")


def test_an_empty_text_has_a_reason(engine: Engine) -> None:
    assert suggest(engine, "x = █\n", "").reason == "stop_token"
    assert suggest(engine, "x = █\n", "   ").reason == "visible"
    assert suggest(engine, "x = █\n", "\ny").reason == "within_line"
    assert suggest(engine, "x = █\n", "1").reason == ""


@pytest.mark.parametrize("writes", ["1 + 2", "   ", ""])
def test_a_cancelled_request_shows_nothing_and_says_so(engine: Engine, writes: str) -> None:
    completion = suggest(engine, "x = █\n", writes, stop_reason="cancelled")
    assert (completion.text, completion.reason) == ("", "cancelled")


def test_after_a_timeout_there_is_what_there_is_by_then(engine: Engine) -> None:
    assert suggest(engine, "x = █\n", "1 + ", stop_reason="timeout").text == "1"
    assert suggest(engine, "def f():\n    █\n", "a()\n    b(c", stop_reason="timeout").text == "a()"
    completion = suggest(engine, "x = █\n", "", stop_reason="timeout")
    assert (completion.text, completion.reason) == ("", "timeout")


def test_a_real_cancel_ends_it_before_anything_is_written(model: Model) -> None:
    completion = complete(opened("import os\n" * 50), 500, model, DEFAULTS, lambda: True)
    assert (completion.text, completion.reason) == ("", "cancelled")
    assert completion.generation is not None
    assert completion.generation.n_generated == 0


def test_stages_are_timed(model: Model) -> None:
    timings = complete(opened("x = 1\ny = "), 10, model, DEFAULTS, lambda: False).timings
    assert timings.total_ms >= timings.window_ms + timings.prefill_ms + timings.decode_ms > 0


def test_prompt_and_answer_fit_the_context(engine: Engine) -> None:
    """Whatever the settings say."""
    snapshot = opened(Path(_pydecimal.__file__).read_text())
    completion_settings = evolve(DEFAULTS.completion, max_tokens=700)
    settings = evolve(DEFAULTS, completion=completion_settings, context=evolve(DEFAULTS.context, max_tokens=16_384))
    scripted = Scripted(engine, b"x")
    for cursor_byte in (0, 9_000, len(snapshot.text.data)):
        complete(snapshot, cursor_byte, Model.of(scripted), settings, lambda: False)
        assert len(scripted.requests[-1].prompt.ids) + 700 <= engine.info.n_context
        assert cursor_byte == 0 or len(scripted.requests[-1].prompt.ids) > 800


def test_the_suggestion_is_for_the_snapshot_that_was_asked_about(model: Model) -> None:
    snapshot = opened("def add(a, b):\n    return a\n")
    completion = complete(snapshot, 27, model, DEFAULTS, lambda: False)
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
    window = see(snapshot, cursor_byte, model, DEFAULTS)
    prompt = ask(window, model)
    ids = prompt.ids[1:]
    suffix_at, middle_at = ids.index(model.fim.suffix), ids.index(model.fim.middle)
    before = b"".join(map(model.tokenizer.piece, (*ids[:suffix_at], *ids[middle_at + 1 :]))) + prompt.heal
    assert prompt.heal
    assert before == window.prefix.text + window.middle.text
    assert normalized(snapshot.text.data[:cursor_byte]).endswith(before) or len(window.prefix.segments) > 1
    typed = re.search(r"\w+$", text[:at])
    assert typed is not None
    assert len(prompt.heal) >= len(typed[0].encode()) or len(model.tokenizer.encode(prompt.heal)) >= N_HEALED_TOKENS
    assert b"".join(map(model.tokenizer.piece, ids[suffix_at + 1 : middle_at])) == window.suffix.text


def test_what_is_written_in_a_word_continues_it(model: Model) -> None:
    """The first tokens spell what was typed of the word, and the text is what comes behind that."""
    rng = random.Random(4)
    n_new_tokens, settings = 0, evolve(DEFAULTS, completion=evolve(DEFAULTS.completion, max_tokens=6))
    for language, text in FILES.items():
        for at in rng.sample(cursors_in_words(text), 8):
            line_end = text.find("\n", at)
            snapshot, cursor_byte = opened(text[:at] + text[line_end:], language), len(text[:at].encode())
            prompt = ask(see(snapshot, cursor_byte, model, settings), model)
            completion = complete(snapshot, cursor_byte, model, settings, lambda: False)
            generation = completion.generation
            assert generation is not None
            (answer,) = generation.written
            written = b"".join(map(model.tokenizer.piece, answer.ids))
            assert written == prompt.heal + answer.text or prompt.heal.startswith(written)
            assert answer.text.startswith(completion.text.encode())
            n_new_tokens += answer.ids[:1] != model.tokenizer.encode(prompt.heal)
    assert n_new_tokens > 5, "healing never chose another token than the one that it took back"


def test_showing_nothing_of_half_a_character(model: Model) -> None:
    snapshot = opened("x = '")
    window = see(snapshot, 5, model, DEFAULTS)
    half = generation_of(Written("é".encode()[:1], (), (), "max_tokens"))
    shown = show(window, describe_site(snapshot, 5, "auto"), half)
    assert (shown.text, shown.reason) == ("", "whole_characters")


# From one request to the next


def test_typing_evaluates_little(model: Model) -> None:
    """Each letter at the end of a long file costs a few tokens; the first request paid for all of them."""
    text = Path(_pydecimal.__file__).read_text()[:60_000]
    settings = evolve(DEFAULTS, completion=evolve(DEFAULTS.completion, max_tokens=1))
    costs = []
    for letter in "\n\ndef total(values):\n    return sum(":
        text += letter
        completion = complete(opened(text), len(text.encode()), model, settings, lambda: False)
        assert completion.generation is not None
        costs.append(completion.generation.n_evaluated)
    assert costs[0] > 1000
    assert sorted(costs)[-2] < 32
    assert sum(costs[1:]) / len(costs[1:]) < 4


class Slow:
    """The demonstrator as a machine would run it that evaluates `prefill_speed` tokens a second."""

    def __init__(self, engine: Engine, prefill_speed: float) -> None:
        self._engine, self.prefill_speed = engine, prefill_speed

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


LONG = "import os\n\n" + "def f(x):\n    return x + 1\n\n\n" * 300
TYPED_AT = len(LONG) // 2


@given(st.floats(0, 1e5), st.integers(50, 120_000))
def test_a_cold_prompt_takes_no_longer_than_it_may(engine: Engine, tokens_per_s: float, max_prefill_ms: int) -> None:
    n_tokens = n_cold_tokens(Slow(engine, tokens_per_s), max_prefill_ms)
    if n_tokens > N_LEAST_COLD_TOKENS and tokens_per_s:
        assert n_tokens / tokens_per_s * 1000 <= max_prefill_ms
    assert n_tokens >= N_LEAST_COLD_TOKENS


def test_a_slow_machine_begins_with_a_narrow_window_and_goes_on_with_a_whole_one(engine: Engine) -> None:
    model = Model.of(Slow(engine, 100.0))
    settings = evolve(DEFAULTS, context=evolve(DEFAULTS.context, max_prefill_ms=2000))
    cursor_byte = TYPED_AT
    narrow = complete(opened(LONG, "python"), cursor_byte, model, settings, lambda: False)
    assert 100 < narrow.window.n_tokens <= 200
    before = opened(LONG, "python")
    assert not prepare(before, cursor_byte, model, settings, lambda: True).is_complete
    assert see(before, cursor_byte, model, settings).budget == narrow.window.budget
    assert prepare(before, cursor_byte, model, settings, lambda: False).is_complete
    typed = opened(LONG[:cursor_byte] + "x" + LONG[cursor_byte:], "python")
    whole = complete(typed, cursor_byte + 1, model, settings, lambda: False)
    assert whole.window.n_tokens > 1000
    assert whole.generation.n_evaluated <= 2
    assert prepare(typed, cursor_byte + 1, model, settings, lambda: False).n_evaluated <= 1


@pytest.mark.parametrize("cursor_byte", [None, 0, 1, 2, 10**9])
def test_any_place_can_be_prepared(engine: Engine, cursor_byte: int | None) -> None:
    model = Model.of(engine)
    snapshot = opened("é = 'ö'\n" * 20, "python")
    assert prepare(snapshot, cursor_byte, model, DEFAULTS, lambda: False).is_complete
    assert prepare(snapshot, cursor_byte, model, evolve(DEFAULTS, enabled=False), lambda: False) is None
