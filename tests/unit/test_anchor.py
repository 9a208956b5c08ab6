"""When a window goes on and when a new one is chosen. `█` is the cursor."""

from __future__ import annotations

import random

import pytest

from starcoder_lsp.completion import Model
from starcoder_lsp.context.anchor import MAX_STICKY_BYTES, Anchors, follow
from starcoder_lsp.context.window import Budget, Window, choose_window
from starcoder_lsp.documents.documents import Documents, Snapshot
from starcoder_lsp.engine.engine import Engine

BUDGET = Budget(512, 0.25)
URI = "file:///a.py"


def opened(marked: str, uri: str = URI) -> tuple[Snapshot, int]:
    before, _, after = marked.partition("█")
    return Documents().open(uri, "python", 1, before + after), len(before.encode())


def grown(engine: Engine, first: str, then: str) -> Window | None:
    snapshot, cursor_byte = opened(first)
    previous = choose_window(snapshot, cursor_byte, BUDGET, engine.tokenizer)
    return follow(previous, *opened(then), engine.tokenizer)


GOES_ON = [
    ("a = 1\nb = █\nc = 3\n", "a = 1\nb = 2█\nc = 3\n"),
    ("a = 1\nb = 2█\nc = 3\n", "a = 1\nb = █\nc = 3\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1\nb = 2\nd = █\nc = 3\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1\n█\nc = 3\n"),
    ("a = f█\nc = 3\n", "a = f(█)\nc = 3\n"),
    ("a = f(█)\nc = 3\n", "a = f(x)█\nc = 3\n"),
    ("a = f█", "a = f([{'█'}])"[: 8 + MAX_STICKY_BYTES]),
    ("é = '😀█'\n", "é = '😀😀█'\n"),
]
IS_CHOSEN_ANEW = [
    ("a = 1\nb = █\nc = 3\n", "a = 2\nb = █\nc = 3\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1\nb = █\nc = 4\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1█\nb = \nc = 3\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1\nb = \nc = 3█\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1\nb = █ + 12345\nc = 3\n"),
    ("a = █ x\n", "a = █ y\n"),
    ("a = █", "a = █\nb = 1\n"),
]


@pytest.mark.parametrize(("first", "then"), GOES_ON)
def test_goes_on(engine: Engine, first: str, then: str) -> None:
    window = grown(engine, first, then)
    assert window is not None
    snapshot, cursor_byte = opened(then)
    assert window.cursor_byte == cursor_byte
    written = b"".join(engine.tokenizer.piece(i) for i in (*window.prefix.ids, *window.middle.ids))
    assert written == snapshot.text.data[:cursor_byte]
    for segment in window.suffix.segments:
        assert cursor_byte <= segment.start_byte <= segment.end_byte <= len(snapshot.text.data)


@pytest.mark.parametrize(("first", "then"), IS_CHOSEN_ANEW)
def test_is_chosen_anew(engine: Engine, first: str, then: str) -> None:
    assert grown(engine, first, then) is None


def test_another_document_is_never_followed(engine: Engine) -> None:
    previous = choose_window(*opened("a = █"), BUDGET, engine.tokenizer)
    assert follow(previous, *opened("a = █", "file:///b.py"), engine.tokenizer) is None


def test_a_middle_that_outgrows_its_room_is_chosen_anew(engine: Engine) -> None:
    snapshot, cursor_byte = opened("x = 1\n" * 500 + "█\n" + "y = 2\n" * 200)
    window: Window | None = choose_window(snapshot, cursor_byte, BUDGET, engine.tokenizer)
    n_followed = 0
    text = "x = 1\n" * 500
    while window is not None:
        text += "z = 3\n"
        window = follow(window, *opened(text + "█\n" + "y = 2\n" * 200), engine.tokenizer)
        n_followed += window is not None
        assert window is None or window.n_tokens <= BUDGET.n_tokens
    assert 5 <= n_followed <= 100


def test_closing_and_typing_over_a_bracket_again_and_again_does_not_drift(engine: Engine) -> None:
    """Stickiness is measured against what was evaluated, not against the step before."""
    anchors = Anchors()
    line = "a = f"
    first = anchors.window(*opened(line + "█\n"), BUDGET, engine.tokenizer)
    anchors.remember(first)
    for n_open in range(1, MAX_STICKY_BYTES + 3):
        window = anchors.window(*opened(line + "(" * n_open + "█" + ")" * n_open + "\n"), BUDGET, engine.tokenizer)
        anchors.remember(window)
        assert (window.suffix.ids == first.suffix.ids) == (n_open <= MAX_STICKY_BYTES)


def test_returning_to_a_place_finds_its_window(engine: Engine) -> None:
    anchors = Anchors()
    text = ["a = \n", *["x = 1\n"] * 400, "b = \n", *["y = 2\n"] * 400]
    places = (0, 401)

    def window_at(line: int) -> Window:
        marked = [*text]
        marked[line] = marked[line].replace("\n", "█\n")
        window = anchors.window(*opened("".join(marked)), BUDGET, engine.tokenizer)
        anchors.remember(window)
        return window

    first = [window_at(line) for line in places]
    again = [window_at(line) for line in places]
    assert [(w.prefix.ids, w.suffix.ids) for w in first] == [(w.prefix.ids, w.suffix.ids) for w in again]


def test_random_typing_always_shows_the_text_up_to_the_cursor(engine: Engine) -> None:
    rng = random.Random(5)
    anchors = Anchors()
    model = Model.of(engine)
    before, after = "import os\n\ndef f(x):\n    ", "\n\ny = 1\n" + "z = 2\n" * 300
    n_kept, previous = 0, None
    for _ in range(300):
        kind = rng.random()
        if kind < 0.8:
            before += rng.choice(["a", "b", " ", "(", ".", "=", "\n    ", "1"])
        elif kind < 0.95:
            before = before[: -rng.randrange(1, 5)]
        else:
            after = rng.choice(["", "\n\ny = 1\n", ")\n"]) + after[:2000]
        snapshot, cursor_byte = opened(before + "█" + after)
        window = anchors.window(snapshot, cursor_byte, BUDGET, model.tokenizer)
        anchors.remember(window)
        assert window.n_tokens <= BUDGET.n_tokens
        shown = b"".join(engine.tokenizer.piece(i) for i in (*window.prefix.ids, *window.middle.ids))
        assert before.encode().endswith(shown[-200:])
        assert b"".join(map(engine.tokenizer.piece, window.middle.ids)) == before.encode()[window.anchor_byte :]
        n_kept += previous is not None and window.suffix.ids == previous.suffix.ids
        previous = window
    assert n_kept > 200
