"""The rest of a cached suggestion after edits: accepting it gives the text that the whole suggestion gave."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from starcoder_lsp.documents.text import is_inside_character
from starcoder_lsp.session.suggestion_cache import (
    MAX_CACHED_ANSWERS,
    CachedSuggestion,
    Remainder,
    SuggestionCache,
    remainder_of,
)
from starcoder_lsp.settings import Settings, StatsSettings
from starcoder_lsp.suggestions.cursor_context import N_CLOSED_BYTES

TEXTS = st.text("ab(é😀)' \n", max_size=12).map(lambda text: text.replace("\n", "\r\n").encode())
"""Texts of few letters, which often agree by chance."""


def spliced(data: bytes, start: int, end: int, text: bytes) -> bytes:
    return data[:start] + text + data[end:]


def boundaries(data: bytes) -> list[int]:
    return [at for at in range(len(data) + 1) if not is_inside_character(data, at)]


@st.composite
def suggestions(draw: st.DrawFn) -> CachedSuggestion:
    before, after, text = draw(TEXTS), draw(TEXTS), draw(TEXTS)
    replaced = draw(st.sampled_from([b"", b")", b"')"])) if text else b""
    return CachedSuggestion(before + replaced + after, len(before), len(before) + len(replaced), text)


@st.composite
def edited(draw: st.DrawFn) -> tuple[CachedSuggestion, bytes, int]:
    """Draw a suggestion and a later text, in which part of it may be typed, auto-closed, and edited elsewhere."""
    shown = draw(suggestions())
    cursor = shown.start_byte + draw(st.sampled_from(boundaries(shown.text)))
    typed = shown.text[: cursor - shown.start_byte] + draw(st.sampled_from([b"", b")", b"')", b"(", b"a"]))
    data = spliced(shown.data, shown.start_byte, draw(st.sampled_from([shown.start_byte, shown.end_byte])), typed)
    if draw(st.booleans()):
        start, end = sorted(draw(st.tuples(*[st.sampled_from(boundaries(data))] * 2)))
        data = spliced(data, start, end, draw(TEXTS | st.just(b"~" * (end - start))))
    if draw(st.booleans()):
        cursor = draw(st.sampled_from(boundaries(data)))
    return shown, data, min(cursor, len(data))


def is_within(part: bytes, whole: bytes) -> bool:
    letters = iter(whole)
    return all(letter in letters for letter in part)


def expected(shown: CachedSuggestion, data: bytes, cursor: int) -> Remainder | None:
    """Try every range and every rest, until one gives the same text as the whole suggestion gave earlier."""
    wanted = spliced(shown.data, shown.start_byte, shown.end_byte, shown.text)
    if not shown.text:
        same = data == shown.data and cursor == shown.start_byte
        return Remainder(b"", 0) if same else None
    for end in range(cursor, min(cursor + N_CLOSED_BYTES, len(data)) + 1):
        for n in range(len(shown.text)):
            rest, closed = shown.text[n:], data[cursor:end]
            if (
                cursor - n == shown.start_byte
                and len(data) - end == len(shown.data) - shown.end_byte
                and spliced(data, cursor, end, rest) == wanted
                and not closed.strip(b")'")
                and is_within(closed, rest)
                and rest.strip()
            ):
                return Remainder(rest, end - cursor)
    return None


@given(edited())
@example((CachedSuggestion(b"f", 1, 1, b"(a)"), b"f()", 2))
@example((CachedSuggestion("é".encode(), 2, 2, "é😀".encode()), "éé".encode(), 4))
@example((CachedSuggestion(b"a\r\n", 1, 1, b"b\r\na"), b"ab\r\n\r\n", 4))
def test_accepting_the_rest_gives_the_same_text(case: tuple[CachedSuggestion, bytes, int]) -> None:
    assert remainder_of(*case) == expected(*case)


@given(shown=suggestions())
def test_typing_a_suggestion_and_deleting_back_leaves_its_rest(shown: CachedSuggestion) -> None:
    """After any typed part of the suggestion, the rest is suggested, unless it is blank."""
    for n in boundaries(shown.text)[:-1]:
        data = spliced(shown.data, shown.start_byte, shown.end_byte, shown.text[:n])
        rest = shown.text[n:]
        cursor = shown.start_byte + n
        assert remainder_of(shown, data, cursor) == (Remainder(rest, 0) if rest.strip() else None)


def case(marked: str, suggestion: str, now: str) -> tuple[CachedSuggestion, bytes, int]:
    before, _, after = marked.partition("█")
    at = len(before.encode())
    return (
        CachedSuggestion((before + after).encode(), at, at, suggestion.encode()),
        now.replace("█", "").encode(),
        len(now.partition("█")[0].encode()),
    )


@pytest.mark.parametrize(
    ("marked", "suggestion", "now", "rest"),
    [
        ("x = █\ny", "foo(a)", "x = fo█\ny", "o(a)"),
        ("x = █\ny", "foo(a)", "x = █\ny", "foo(a)"),
        ("x = █\ny", "foo(a)", "x = foo(█)\ny", "a)"),  # closed by the editor
        ("x = █\ny", "foo(a)", "x = foo(a)█\ny", None),  # accepted
        ("x = █\ny", "foo(a)", "x = fa█\ny", None),
        ("x = █\ny", "foo(a)", "x =█\ny", None),  # deleted beyond its beginning
        ("x = █\ny", "foo(a)", "x = fo█\nz", None),  # edited elsewhere
        ("x = █\ny", "foo(a)", "w = fo█\ny", None),
        ("x = █\ny", "foo(a)", "x = f█o\ny", None),  # the cursor went back
        ("x = █\ny", "foo(a", "x = foo(█)\ny", None),  # no closing bracket is left in the rest
        ("x = █\ny", "foo(a)", "x = foo(█]\ny", None),
        ("x = █\ny", "foo(a)", "x = foo(█a\ny", None),  # an editor does not auto-close with that
        ("█aa", "ab", "a█a", None),  # a character behind the cursor was deleted
        ("x)█a", "a)", "x█)a", None),
        ("x = █\ny", "f('é')", "x = f('█')\ny", "é')"),
        ("if x:█", "\r\n    y", "if x:\r\n    █", "y"),
        ("x = █", "a ", "x = a█", None),
        ("x = █", "", "x = █", ""),
        ("x = █", "", "x = a█", None),
        ("█", "a", "█", "a"),
    ],
)
def test_the_rest_of_a_suggestion(marked: str, suggestion: str, now: str, rest: str | None) -> None:
    answer = remainder_of(*case(marked, suggestion, now))
    assert (answer and answer.text) == (None if rest is None else rest.encode())


def cache_with(*answers: tuple[int, list[bytes]], settings: Settings = Settings()) -> SuggestionCache:  # noqa: B008  frozen
    memory = SuggestionCache()
    for n_items, texts in answers:
        memory.store(settings, n_items, [CachedSuggestion(b"", 0, 0, text) for text in texts])
    return memory


def test_the_newest_matching_answer_is_used() -> None:
    memory = cache_with((1, [b"a2"]), (1, [b"a1"]), (1, [b"b1"]))
    assert memory.lookup(Settings(), 1, b"a", 1) == [Remainder(b"1", 0)]
    assert memory.lookup(Settings(), 1, b"", 0) == [Remainder(b"b1", 0)]
    assert memory.lookup(Settings(), 1, b"c", 1) is None


def test_of_several_suggestions_the_matching_ones_are_used() -> None:
    memory = cache_with((3, [b"ab", b"ac", b"b"]))
    assert memory.lookup(Settings(), 3, b"a", 1) == [Remainder(b"b", 0), Remainder(b"c", 0)]
    assert memory.lookup(Settings(), 1, b"a", 1) == [Remainder(b"b", 0)]


def test_one_cached_suggestion_does_not_answer_a_request_for_several() -> None:
    memory = cache_with((1, [b"ab"]))
    assert memory.lookup(Settings(), 3, b"a", 1) is None


def test_an_empty_answer_is_cached_for_the_same_text_only() -> None:
    memory = cache_with((1, [b""]))
    assert memory.lookup(Settings(), 1, b"", 0) == []
    assert memory.lookup(Settings(), 1, b"a", 1) is None


def test_other_settings_do_not_use_the_cache() -> None:
    memory = cache_with((1, [b"ab"]))
    assert memory.lookup(Settings(stats=StatsSettings(enabled=not Settings().stats.enabled)), 1, b"", 0) is None


def test_old_answers_are_dropped_and_clear_drops_all() -> None:
    memory = cache_with((1, [b"first"]), *[(1, [b"ab"])] * MAX_CACHED_ANSWERS)
    assert memory.lookup(Settings(), 1, b"f", 1) is None
    memory.clear()
    assert memory.lookup(Settings(), 1, b"", 0) is None
