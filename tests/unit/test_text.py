"""`Text` against plain Python strings: positions, splices and the line index, computed in a slow, independent way."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from starcoder_lsp.documents.text import InputEdit, PositionEncoding, Text, splice_between

ENCODINGS: tuple[PositionEncoding, ...] = ("utf-8", "utf-16", "utf-32")

# Each of these has broken an editor or a server: line endings of every kind, characters that look like them, characters
# of one to four bytes, a combining mark, joined emoji, halves of a surrogate pair, a byte order mark, NUL.
PIECES = [
    "a", "if x:", "    ", "\t", "\n", "\r\n", "\r", "\f", "\v", "\x1c", "\x85", "\u2028", "\u2029", "\0", "\ufeff",
    "é", "e\u0301", "ß", "漢字", "\uffff", "😀", "👩\u200d👩\u200d👧", "🇩🇪", "\U0010ffff",
    "\ud83d", "\ude00", "\ud83dx", "({", "]", "))",
]  # fmt: skip

strings = st.lists(st.sampled_from(PIECES) | st.characters(codec=None), max_size=30).map("".join)
small = st.integers(min_value=-3, max_value=60)


def encoded(string: str) -> bytes:
    return string.encode("utf-8", "surrogatepass")


def lines_of(string: str) -> list[str]:
    """Return the lines with their endings; the last line has none."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z|\Z", string)[: len(re.findall(r"\r\n|\r|\n", string)) + 1]


def width(character: str, encoding: PositionEncoding) -> int:
    if encoding == "utf-8":
        return len(encoded(character))
    return len(character.encode("utf-16-le", "surrogatepass")) // 2 if encoding == "utf-16" else 1


def index_at(string: str, line: int, character: int, encoding: PositionEncoding) -> int:
    """Return the index of a position in a Python string, found by a walk over its characters."""
    lines = lines_of(string)
    if line >= len(lines):
        return len(string)
    line = max(line, 0)
    index = sum(map(len, lines[:line]))
    for one in lines[line].rstrip("\r\n"):
        character -= width(one, encoding)
        if character < 0:
            break
        index += 1
    return index


@settings(deadline=None)
@given(strings)
@example("")
@example("\r")
@example("a\r\n")
def test_a_text_equals_its_string_and_its_lines_end_as_in_the_protocol(string: str) -> None:
    text = Text.from_str(string)
    assert text.to_str() == string
    assert text == Text.from_bytes(text.data)
    lines = lines_of(string)
    assert text.n_lines == len(lines)
    assert "".join(lines) == string
    for number, line in enumerate(lines):
        start = len(encoded("".join(lines[:number])))
        bare = encoded(line.rstrip("\r\n"))
        assert text.line_span(number) == (start, start + len(bare))
        assert text.line_text(number) == bare
        for byte in range(start, start + max(len(encoded(line)), 1)):
            assert text.line_of(byte) == number


@settings(deadline=None)
@given(strings, small, small, st.sampled_from(ENCODINGS))
@example("a😀b", 0, 2, "utf-16")  # inside the surrogate pair
@example("a😀b", 0, 3, "utf-8")  # inside the character
@example("ab\r\ncd", 0, 9, "utf-16")  # beyond the line's end: clamped to before its ending
@example("ab\ncd", 9, 0, "utf-16")
@example("\r", 1, 1, "utf-32")
def test_a_position_equals_that_of_a_walk_over_the_characters(
    string: str, line: int, character: int, encoding: PositionEncoding
) -> None:
    text = Text.from_str(string)
    expected = index_at(string, line, character, encoding)
    assert text.byte_at(line, character, encoding) == len(encoded(string[:expected]))


@settings(deadline=None)
@given(strings, st.sampled_from(ENCODINGS))
def test_positions_of_characters_convert_back(string: str, encoding: PositionEncoding) -> None:
    text = Text.from_str(string)
    for index in range(len(string) + 1):
        byte = len(encoded(string[:index]))
        line, character = text.position_of(byte, encoding)
        between_cr_and_lf = string[index - 1 : index + 1] == "\r\n" and index > 0
        assert text.byte_at(line, character, encoding) == byte - between_cr_and_lf
        if not between_cr_and_lf:
            before = lines_of(string[:index])[-1]
            assert (line, character) == (text.line_of(byte), sum(width(one, encoding) for one in before))


@settings(deadline=None)
@given(strings, st.sampled_from(ENCODINGS), st.integers(min_value=-5, max_value=200))
def test_an_offset_inside_a_character_has_the_position_of_its_start(
    string: str, encoding: PositionEncoding, byte: int
) -> None:
    text = Text.from_str(string)
    starts = [len(encoded(string[:index])) for index in range(len(string) + 1)]
    start = max(start for start in starts if start <= max(byte, 0))
    assert text.position_of(byte, encoding) == text.position_of(start, encoding)


edits = st.lists(st.tuples(small, small, small, small, strings), max_size=8)


@settings(deadline=None)
@given(strings, edits, st.sampled_from(ENCODINGS))
@example("a\r", [(1, 0, 1, 0, "\nb")], "utf-16")  # joins \r and \n
@example("a\r\nb", [(0, 1, 0, 1, "\r")], "utf-16")
@example("\r\n", [(0, 0, 0, 0, "\n")], "utf-8")
def test_an_edited_text_equals_the_spliced_string(
    string: str, edits: list[tuple[int, int, int, int, str]], encoding: PositionEncoding
) -> None:
    text = Text.from_str(string)
    for line, character, end_line, end_character, new in edits:
        positions = sorted([(line, character), (end_line, end_character)])
        start, end = sorted(index_at(string, *position, encoding) for position in positions)
        start_byte, end_byte = sorted(text.byte_at(*position, encoding) for position in positions)
        string = string[:start] + new + string[end:]
        text = text.splice(start_byte, end_byte, encoded(new))
        assert text.to_str() == string
        assert text == Text.from_str(string)  # with an equal line index


@settings(deadline=None)
@given(strings, st.data(), strings)
def test_the_line_index_after_any_splice_equals_a_new_one(string: str, data: st.DataObject, new: str) -> None:
    """A position never falls between \\r and \\n, but an offset may."""
    start = data.draw(st.integers(0, len(string)))
    end = data.draw(st.integers(start, len(string)))
    text = Text.from_str(string).splice(len(encoded(string[:start])), len(encoded(string[:end])), encoded(new))
    fresh = Text.from_str(string[:start] + new + string[end:])
    assert text == fresh
    assert [text.has_line_over(n) for n in range(12)] == [fresh.has_line_over(n) for n in range(12)]


@settings(deadline=None)
@given(strings, st.data(), strings)
def test_an_edit_for_the_parser_counts_rows_and_bytes(string: str, data: st.DataObject, new: str) -> None:
    start = data.draw(st.integers(0, len(string)))
    end = data.draw(st.integers(start, len(string)))
    start_byte, end_byte = len(encoded(string[:start])), len(encoded(string[:end]))
    old = Text.from_str(string)

    def point(before: str) -> tuple[int, int]:
        *rows, last = encoded(before).split(b"\n")
        return len(rows), len(last)

    edit = InputEdit.of_splice(old, start_byte, end_byte, old.splice(start_byte, end_byte, encoded(new)))
    assert (edit.start_byte, edit.old_end_byte) == (start_byte, end_byte)
    assert edit.new_end_byte == start_byte + len(encoded(new))
    assert (edit.start_point, edit.old_end_point) == (point(string[:start]), point(string[:end]))
    assert edit.new_end_point == point(string[:start] + new)


@pytest.mark.parametrize(("start", "end"), [(-1, 0), (2, 1), (0, 4), (4, 4)])
def test_a_range_outside_the_text_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="no range of a text of 3 bytes"):
        Text.from_str("abc").splice(start, end, b"")


@pytest.mark.parametrize("line", [-1, 2])
def test_a_line_outside_the_text_is_refused(line: int) -> None:
    with pytest.raises(IndexError, match="no line"):
        Text.from_str("a\nb").line_span(line)


def test_a_splice_in_a_large_text_takes_well_under_a_millisecond() -> None:
    text = Text.from_str("    value = compute(first, second)\n" * 3800)
    assert len(text.data) > 130_000

    def elapsed_ms() -> float:
        begin = time.perf_counter()
        text.splice(40, 41, b"xy")
        return (time.perf_counter() - begin) * 1e3

    assert min(elapsed_ms() for _ in range(20)) < 1.0  # 0.15 ms on an idle machine


ALIKE = st.text(st.sampled_from("ab\n\u00e9\u00ea\u4e2d\u4e2e\U0001f600\U0001f601"), max_size=9)
"""Characters of one to four bytes, in pairs that differ in their last byte alone."""


def n_shared(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@given(ALIKE, ALIKE, ALIKE, ALIKE)
@example("", "", "\U0001f600", "\U0001f601")  # the typed character begins with the bytes of the next one
def test_the_splice_between_two_texts_excludes_their_common_ends(
    before: str, deleted: str, inserted: str, after: str
) -> None:
    old, new = before + deleted + after, before + inserted + after
    n_before = n_shared(old, new)
    n_after = n_shared(old[n_before:][::-1], new[n_before:][::-1])
    start, end = len(encoded(old[:n_before])), len(encoded(old[: len(old) - n_after]))
    assert splice_between(encoded(old), encoded(new)) == (start, end, encoded(new[n_before : len(new) - n_after]))
