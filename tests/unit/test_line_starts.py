"""The line index in blocks, against a plain list of line starts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.documents import line_starts
from starcoder_lsp.documents.line_starts import LineStarts
from starcoder_lsp.documents.text import Text

PIECES = st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b"\n\n\n", b"a long line with some words", "é".encode()])
texts = st.lists(PIECES, max_size=40).map(b"".join)


def starts_of(data: bytes) -> list[int]:
    """Return all line starts, found by one pattern."""
    return [0, *(match.end() for match in re.finditer(rb"\r\n?|\n", data))]


@pytest.fixture(params=[1, 3, 8, 4096], autouse=True, ids=lambda n: f"pieces of {n} bytes")
def piece_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(line_starts, "PIECE_BYTES", request.param)
    monkeypatch.setattr(line_starts, "MAX_BLOCK_LINES", max(2, request.param))
    return request.param


@given(data=texts)
def test_the_blocks_equal_the_list(data: bytes) -> None:
    expected, found = starts_of(data), LineStarts.of(data)
    assert list(found) == expected
    assert len(found) == len(expected)
    assert [found[line] for line in range(len(expected))] == expected
    assert [found[line - len(expected)] for line in range(len(expected))] == expected
    assert found[1:] == tuple(expected[1:])
    assert [found.n_until(byte) for byte in range(-1, len(data) + 2)] == [
        sum(start <= byte for start in expected) for byte in range(-1, len(data) + 2)
    ]
    for line in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            found[line]


@given(data=texts, edits=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), texts), max_size=6))
def test_the_blocks_of_an_edited_text_equal_those_of_a_new_one(
    data: bytes, edits: list[tuple[float, float, bytes]]
) -> None:
    text = Text.from_bytes(data)
    for one, other, new in edits:
        start, end = sorted((int(one * len(data)), int(other * len(data))))
        data = data[:start] + new + data[end:]
        text = text.splice(start, end, new)
        assert text.data == data
        assert list(text.line_starts) == starts_of(data)
        fresh = LineStarts.of(data)
        assert (text.line_starts, hash(text.line_starts)) == (fresh, hash(fresh))
        assert [text.line_of(byte) for byte in range(len(data) + 1)] == [
            sum(start <= byte for start in fresh) - 1 for byte in range(len(data) + 1)
        ]


def test_an_edit_rebuilds_one_block(piece_bytes: int) -> None:
    text = Text.from_bytes(b"value = 1\n" * 2000)
    edited = text.splice(10_000, 10_000, b"more\n")
    old = set(map(id, text.line_starts.blocks))
    n_new = sum(id(block) not in old for block in edited.line_starts.blocks)
    assert n_new <= 2
    assert len(edited.line_starts.blocks) <= len(text.line_starts.blocks) + 1
    assert max(map(len, edited.line_starts.blocks)) <= max(2, piece_bytes)
