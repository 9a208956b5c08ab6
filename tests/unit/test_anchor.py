"""The choice between extending an earlier window and a new one. `█` is the cursor."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.context.anchor import MAX_WINDOWS, Anchors, no_cross_file
from starcoder_lsp.context.extending import CLOSERS, MAX_STICKY_BYTES, extend_in_later_text
from starcoder_lsp.context.new_window import new_window
from starcoder_lsp.context.snippet import Snippet
from starcoder_lsp.context.text_change import TextChange
from starcoder_lsp.context.window import Budget, CrossFileContext, Segment, Window, normalized
from starcoder_lsp.documents.documents import Documents, Snapshot
from starcoder_lsp.documents.text import splice_between
from starcoder_lsp.engine.fim import OtherFile
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import PromptBuilder

BUDGET = Budget(512, 0.25)
URI = "file:///a.py"


def opened(marked: str, uri: str = URI) -> tuple[Snapshot, int]:
    before, _, after = marked.partition("█")
    return Documents().open(uri, "python", 1, before + after), len(before.encode())


def extended(prompts: PromptModel, first: str, then: str) -> Window | None:
    snapshot, cursor_byte = opened(first)
    window = new_window(snapshot, cursor_byte, BUDGET, prompts.tokenizer)
    return extend_in_later_text(window, *opened(then), prompts.tokenizer)


EXTENDED = [
    ("a = 1\nb = █\nc = 3\n", "a = 1\nb = 2█\nc = 3\n"),
    ("a = 1\nb = 2█\nc = 3\n", "a = 1\nb = █\nc = 3\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1\nb = 2\nd = █\nc = 3\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1\n█\nc = 3\n"),
    ("a = f█\nc = 3\n", "a = f(█)\nc = 3\n"),
    ("a = f(█))\nc = 3\n", "a = f(x)█)\nc = 3\n"),
    ("a = f(█) + 1\nc = 3\n", "a = f(x)█ + 1\nc = 3\n"),
    ("a = f█", "a = f([{'█'}])"[: 8 + MAX_STICKY_BYTES]),
    ("é = '😀█'\n", "é = '😀😀█'\n"),
]
REPLACED = [
    ("a = 1\nb = █\nc = 3\n", "a = 2\nb = █\nc = 3\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1\nb = █\nc = 4\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1█\nb = \nc = 3\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1\nb = \nc = 3█\n"),
    ("a = 1\nb = █\nc = 3\n", "a = 1\nb = █ + 12345\nc = 3\n"),
    ("a = █ x\n", "a = █ y\n"),
    ("a = █", "a = █\nb = 1\n"),
    ("if █not x:\n", "if █x:\n"),
    ("if █x:\n", "if █not x:\n"),
    ("a = █f()\n", "a = █()\n"),
    ("a = █, b\n", "a = █)x, b\n"),
    ("a = f(█)\nc = 3\n", "a = f(x)█\nc = 3\n"),
    ("a = █  \nc = 3\n", "a = █\nc = 3\n"),
    ("a = (█)", "a = (█"),
]


@pytest.mark.parametrize(("first", "then"), EXTENDED)
def test_a_window_is_extended_to_the_cursor(prompts: PromptModel, first: str, then: str) -> None:
    window = extended(prompts, first, then)
    assert window is not None
    snapshot, cursor_byte = opened(then)
    assert window.cursor_byte == cursor_byte
    written = b"".join(prompts.tokenizer.piece(i) for i in (*window.prefix.ids, *window.middle.ids))
    assert written == snapshot.text.data[:cursor_byte]
    for segment in window.suffix.segments:
        assert cursor_byte <= segment.start_byte <= segment.end_byte <= len(snapshot.text.data)


@pytest.mark.parametrize(("first", "then"), REPLACED)
def test_a_window_that_no_longer_fits_is_not_extended(prompts: PromptModel, first: str, then: str) -> None:
    assert extended(prompts, first, then) is None


def test_a_middle_that_outgrows_its_budget_ends_a_window(prompts: PromptModel) -> None:
    snapshot, cursor_byte = opened("x = 1\n" * 500 + "█\n" + "y = 2\n" * 200)
    window: Window | None = new_window(snapshot, cursor_byte, BUDGET, prompts.tokenizer)
    n_followed = 0
    text = "x = 1\n" * 500
    while window is not None:
        text += "z = 3\n"
        window = extend_in_later_text(window, *opened(text + "█\n" + "y = 2\n" * 200), prompts.tokenizer)
        n_followed += window is not None
        assert window is None or window.n_tokens <= BUDGET.n_tokens
    assert 5 <= n_followed <= 100


def test_the_suffix_tolerates_a_limited_number_of_auto_closed_brackets(prompts: PromptModel) -> None:
    """The limit counts from the suffix that was evaluated, not from the window of the edit before."""
    anchors = Anchors()
    line = "a = f"
    first = anchors.window(*opened(line + "█\n"), BUDGET, BUDGET, prompts.tokenizer)
    anchors.remember(first)
    for n_open in range(1, MAX_STICKY_BYTES + 3):
        window = anchors.window(
            *opened(line + "(" * n_open + "█" + ")" * n_open + "\n"), BUDGET, BUDGET, prompts.tokenizer
        )
        anchors.remember(window)
        assert (window.suffix.ids == first.suffix.ids) == (n_open <= MAX_STICKY_BYTES)


def test_a_return_to_a_place_reuses_its_window(prompts: PromptModel) -> None:
    anchors = Anchors()
    text = ["a = \n", *["x = 1\n"] * 400, "b = \n", *["y = 2\n"] * 400]
    places = (0, 401)

    def window_at(line: int) -> Window:
        marked = [*text]
        marked[line] = marked[line].replace("\n", "█\n")
        window = anchors.window(*opened("".join(marked)), BUDGET, BUDGET, prompts.tokenizer)
        anchors.remember(window)
        return window

    first = [window_at(line) for line in places]
    again = [window_at(line) for line in places]
    assert [(w.prefix.ids, w.suffix.ids) for w in first] == [(w.prefix.ids, w.suffix.ids) for w in again]


def test_typing_at_one_place_keeps_the_window_of_another(prompts: PromptModel) -> None:
    anchors = Anchors()
    one, between, below = "x = 1\n" * 200 + "a = ", "\n" + "y = 2\n" * 400 + "b = ", "\n" + "z = 3\n" * 200

    def window_at(marked: str) -> Window:
        window = anchors.window(*opened(marked), BUDGET, BUDGET, prompts.tokenizer)
        anchors.remember(window)
        return window

    first = window_at(one + "█" + between + below)
    typed = [window_at(one + between + "c" * n + "█" + below) for n in range(4)]
    assert len({(window.prefix.ids, window.suffix.ids) for window in typed}) == 1
    again = window_at(one + "█" + between + "ccc" + below)
    assert again.prefix.ids is first.prefix.ids, "the window is extended, and not a new one with the same ids"
    assert len(anchors._by_uri[URI].windows) == 2


def test_windows_move_with_edits_elsewhere(prompts: PromptModel) -> None:
    anchors = Anchors()
    filler = [f"name_{n} = {n}\n" for n in range(600)]
    place = "".join([*filler[:400], "b = █\n", *filler[400:]])
    first = anchors.window(*opened(place), BUDGET, BUDGET, prompts.tokenizer)
    anchors.remember(first)
    for edited in ("import os\n" * 40 + place, place[100:], place + "c = 1\n", place[:-50]):
        window = anchors.window(*opened(edited), BUDGET, BUDGET, prompts.tokenizer)
        assert (window.prefix.ids, window.suffix.ids) == (first.prefix.ids, first.suffix.ids)
        check(window)


def test_a_new_window_begins_at_the_line_of_an_earlier_one(prompts: PromptModel) -> None:
    """So two places near each other share the text above both, even after edits far above."""
    anchors = Anchors()
    filler = [f"name_{n} = {n}\n" for n in range(600)]

    def window_at(line: int, above: str) -> Window:
        marked = above + "".join([*filler[:line], "█", *filler[line:]])
        window = anchors.window(*opened(marked), BUDGET, BUDGET, prompts.tokenizer)
        anchors.remember(window)
        check(window)
        return window

    first = window_at(400, "")
    for n, above in ((402, ""), (399, "# a comment\n"), (401, "# 22 characters\n" * 3)):
        second = window_at(n, above)
        n_shared = min(len(first.prefix.text), len(second.prefix.text))
        assert first.prefix.text[:n_shared] == second.prefix.text[:n_shared]


def test_a_document_remembers_a_limited_number_of_windows(prompts: PromptModel) -> None:
    anchors = Anchors()
    filler = [f"name_{n} = {n}\n" for n in range(2000)]
    for line in range(0, 2000, 40):
        anchors.remember(
            anchors.window(*opened("".join([*filler[:line], "█", *filler[line:]])), BUDGET, BUDGET, prompts.tokenizer)
        )
    assert len(anchors._by_uri[URI].windows) == MAX_WINDOWS >= len(anchors._by_uri[URI].prefix_starts)


def check(window: Window) -> None:
    """Check that a window shows the document's text, but for closing brackets behind the cursor."""
    data = window.snapshot.text.data
    for part in (window.prefix, window.middle):
        assert normalized(b"".join(data[s.start_byte : s.end_byte] for s in part.segments)) == part.text
    below = normalized(data[window.cursor_byte :])
    line_seen, newline, rest_seen = window.text_after_cursor.partition(b"\n")
    line, _, rest = below.partition(b"\n")
    if newline:
        assert rest.startswith(rest_seen)
        n_differing = abs(len(line) - len(line_seen))
        longer, shorter = sorted((line, line_seen), key=len, reverse=True)
        assert longer.endswith(shorter)
        assert n_differing <= MAX_STICKY_BYTES
        assert not longer[:n_differing].strip(CLOSERS)
        assert line.strip() or line_seen == line
    else:
        assert below[: len(line_seen)].strip(CLOSERS) == line_seen.strip(CLOSERS) or below.endswith(line_seen)
    further = window.suffix.text[len(window.text_after_cursor) :]
    assert further == normalized(b"".join(data[s.start_byte : s.end_byte] for s in window.suffix.segments[1:]))
    assert window.n_tokens <= window.budget.n_tokens


PIECES = st.sampled_from(["a", "x = 1\n", "\n", "é", "(", ")", "'", " ", "not ", "    return\n", "😀"])


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.lists(PIECES, max_size=4)), min_size=1, max_size=12))
def test_windows_show_the_documents_text_after_any_edits(
    prompts: PromptModel, edits: list[tuple[float, int, list[str]]]
) -> None:
    text = "import os\n" + "".join(f"def f_{n}():\n    return {n}\n" for n in range(80))
    anchors = Anchors()
    for at, n_deleted, pieces in edits:
        cursor = int(at * len(text))
        text = text[:cursor] + "".join(pieces) + text[cursor + n_deleted :]
        cursor += len("".join(pieces))
        window = anchors.window(*opened(text[:cursor] + "█" + text[cursor:]), BUDGET, BUDGET, prompts.tokenizer)
        anchors.remember(window)
        check(window)


@given(st.text("ab\n", max_size=12), st.text("ab\n", max_size=12))
def test_a_text_change_maps_places_to_the_same_text(before: str, now: str) -> None:
    old, new = before.encode(), now.encode()
    move = TextChange.between(old, new)
    changed_start, changed_end, _ = splice_between(old, new)
    for start in range(len(old) + 1):
        place = move.place(start)
        assert (place is None) == (changed_start < start < changed_end)
        if place is not None:
            assert new[place:] == old[start:] or new[:place] == old[:start]
        for end in range(start, len(old) + 1):
            moved = move.segment(Segment("prefix", start, end, ""))
            assert (moved is None) == (end > changed_start and start < max(changed_end, 1))
            assert moved is None or new[moved.start_byte : moved.end_byte] == old[start:end]


def cross_file_context(prompts: PromptModel, text: bytes) -> CrossFileContext:
    encode, fim = prompts.tokenizer.encode, prompts.fim
    snippet = Snippet("b.py", 0, len(text), 1, 1, text, encode(text), "a test")
    frame = fim.repository_frame(encode, "", "", [OtherFile(snippet.path, snippet.ids)])
    return CrossFileContext((snippet,), frame, frame.n_tokens - fim.frame.n_tokens)


SHORT = "a = █\n"
WHOLE = Budget(1024, 0.25, 400, 1400)


def test_snippets_are_chosen_once_and_renewed_ahead_of_need(prompts: PromptModel) -> None:
    budgets: list[int] = []
    cross_file = cross_file_context(prompts, b"def first(): pass\n")

    def choose(n_tokens: int) -> CrossFileContext | None:
        budgets.append(n_tokens)
        return cross_file

    anchors, cold = Anchors(), Budget(256, 0.25, 64, 256)
    first = anchors.window(*opened(SHORT), WHOLE, cold, prompts.tokenizer, choose)
    anchors.remember(first)
    assert first.cross_file == cross_file
    anchors.remember(anchors.window(*opened(SHORT + "b = 1\n" * 30), WHOLE, cold, prompts.tokenizer, choose))
    assert budgets == [64]
    whole = anchors.full_window(*opened(SHORT), WHOLE, prompts.tokenizer, choose)
    anchors.remember(whole)
    anchors.full_window(*opened(SHORT), WHOLE, prompts.tokenizer, choose)
    assert budgets == [64, 400]
    cross_file = cross_file_context(prompts, b"def second(): pass\n")
    renewed = anchors.full_window(*opened(SHORT), WHOLE, prompts.tokenizer, choose, renew=True)
    assert renewed.cross_file == cross_file
    before = anchors.window(*opened(SHORT), WHOLE, cold, prompts.tokenizer, choose)
    assert before.cross_file == whole.cross_file, (
        "a request does not wait for what is still to be evaluated ahead of need"
    )
    anchors.remember(renewed)
    assert anchors.window(*opened(SHORT), WHOLE, cold, prompts.tokenizer, choose).cross_file == cross_file
    assert anchors.window(*opened("b" + SHORT), WHOLE, cold, prompts.tokenizer, choose).cross_file == cross_file


@pytest.mark.parametrize("text", ["█", "x = 1\n█", "x = 1\ny = █\n", SHORT])
def test_windows_of_equal_ids_get_renewed_snippets(prompts: PromptModel, text: str) -> None:
    """The tokenizer caches the ids of a short text as one object, so windows must not be compared by those ids."""
    anchors = Anchors()
    for code in (b"def one(): pass\n", b"def two(): pass\n"):
        cross_file = cross_file_context(prompts, code)
        full = anchors.full_window(*opened(text), WHOLE, prompts.tokenizer, lambda _n: cross_file, renew=True)  # noqa: B023
        anchors.remember(full)
        for later in (text, "later = 1\n" * 9 + "█" + "after = 1\n" * 9):
            window = anchors.window(*opened(later), WHOLE, WHOLE, prompts.tokenizer, no_cross_file)
            assert window.cross_file == cross_file


def test_snippets_that_are_cached_do_not_count_in_the_budget_of_a_cold_window(prompts: PromptModel) -> None:
    """Their cells cost nothing, so even on a slow machine the budget is left for the cursor's file."""
    anchors, cold = Anchors(), Budget(128, 0.25, 32, 128)
    cross_file = cross_file_context(prompts, b"def helper(x): return x\n" * 40)
    assert cross_file.n_tokens > cold.max_prompt_tokens
    text = "".join(f"name_{n} = {n}\n" for n in range(300))
    first = text[:2000] + "█" + text[2000:]
    anchors.remember(anchors.full_window(*opened(first), WHOLE, prompts.tokenizer, lambda _n: cross_file))
    elsewhere = anchors.window(*opened(text[:500] + "█" + text[500:]), WHOLE, cold, prompts.tokenizer, no_cross_file)
    assert elsewhere.cross_file == cross_file
    assert cold.n_tokens // 2 < elsewhere.n_tokens <= cold.n_tokens


def test_random_typing_always_shows_the_text_up_to_the_cursor(prompts: PromptModel) -> None:
    rng = random.Random(5)
    anchors = Anchors()
    model = PromptBuilder.reading(prompts)
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
        window = anchors.window(snapshot, cursor_byte, BUDGET, BUDGET, model.tokenizer)
        anchors.remember(window)
        assert window.n_tokens <= BUDGET.n_tokens
        shown = b"".join(prompts.tokenizer.piece(i) for i in (*window.prefix.ids, *window.middle.ids))
        assert before.encode().endswith(shown[-200:])
        assert b"".join(map(prompts.tokenizer.piece, window.middle.ids)) == before.encode()[window.anchor_byte :]
        n_kept += previous is not None and window.suffix.ids == previous.suffix.ids
        previous = window
    assert n_kept > 200
