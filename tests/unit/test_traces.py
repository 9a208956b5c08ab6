"""Editing traces: how they are read, the text after each edit, and the edits that count as typing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench.traces import (
    PLAIN_TEXT,
    Trace,
    check_range,
    document_name,
    edits_of,
    grouped,
    read_trace,
    text_before,
)
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.documents.documents import Edit as DocumentEdit
from starcoder_lsp.percentile import percentile

URI = "file:///a.txt"
texts = st.text(alphabet="ab\n(😀é", max_size=6)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    start = draw(texts)
    n, transactions = len(start), []
    for _ in range(draw(st.integers(1, 6))):
        patches = []
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, n))
            n_deleted, inserted = draw(st.integers(0, n - at)), draw(texts)
            n += len(inserted) - n_deleted
            patches.append((at, n_deleted, inserted))
        transactions.append(tuple(patches))
    return Trace(start, tuple(transactions))


@given(traces(), st.integers(0, 5))
def test_a_server_that_gets_the_edits_has_the_text(trace: Trace, first: int) -> None:
    first = min(first, len(trace.transactions) - 1)
    documents = Documents()
    documents.open(URI, "", 1, text_before(trace, first))
    for version, edit in enumerate(edits_of(trace, first, 10), 2):
        changes = [
            DocumentEdit(c.start_line, c.start_character, c.end_line, c.end_character, c.text) for c in edit.changes
        ]
        snapshot = documents.change(URI, version, changes, "utf-32")
        assert snapshot.text.to_str() == edit.text
        cursor_byte = snapshot.text.byte_at(edit.line, edit.character, "utf-32")
        assert snapshot.text.position_of(cursor_byte, "utf-32") == (edit.line, edit.character)
    assert edit.text == text_before(trace, len(trace.transactions))


@pytest.mark.parametrize(
    ("patches", "typing"),
    [
        ([(0, 0, "a"), (1, 0, "b"), (2, 0, "c")], [False, True, True]),
        ([(0, 0, "a"), (0, 0, "b"), (1, 0, "c")], [False, False, True]),  # a jump back by one, then typing from there
        ([(0, 0, "()"), (1, 0, "x"), (2, 0, "y")], [False, True, True]),  # the cursor is between the brackets
        ([(0, 0, "ab"), (1, 1, ""), (1, 0, "c")], [False, False, True]),  # typing continues where a deletion ended
        ([(0, 0, "a"), (1, 0, "bc"), (3, 0, "d")], [False, False, True]),
        ([(0, 0, "ab"), (1, 1, "c")], [False, False]),
        ([(0, 0, "a"), (1, 0, "\n"), (2, 0, "😀"), (3, 0, "b")], [False, True, True, True]),
    ],
)
def test_edits_that_count_as_typing(patches: list[tuple[int, int, str]], typing: list[bool]) -> None:
    trace = Trace("", tuple((patch,) for patch in patches))
    assert [edit.is_typing for edit in edits_of(trace, 0, 99)] == typing


def test_several_patches_are_no_typing_and_no_patch_leaves_the_cursor() -> None:
    trace = Trace("xy", (((0, 0, "a"),), (), ((1, 0, "b"),), ((2, 0, "c"), (3, 0, "d")), ((4, 0, "e"),)))
    edits = list(edits_of(trace, 0, 99))
    assert [edit.is_typing for edit in edits] == [False, False, True, False, True]
    assert [edit.character for edit in edits] == [1, 1, 2, 4, 5]


def test_the_first_edit_of_a_run_is_no_typing() -> None:
    trace = Trace("", (((0, 0, "a"),), ((1, 0, "b"),), ((2, 0, "c"),)))
    assert [edit.is_typing for edit in edits_of(trace, 1, 99)] == [False, True]


def test_edits_are_grouped() -> None:
    assert grouped([(True, 1), (False, 2), (True, 3)]) == {"all": [1, 2, 3], "typing": [1, 3], "other": [2]}


def as_json(transactions: list[list[tuple[object, object, object]]], start: str = "ab") -> bytes:
    trace = {"startContent": start, "endContent": "", "txns": [{"patches": patches} for patches in transactions]}
    return json.dumps(trace).encode()


def test_a_trace_may_be_gzipped(tmp_path: Path) -> None:
    data = as_json([[(0, 1, "ü")], [(1, 0, "x"), (2, 1, "")]])
    plain, zipped = tmp_path / "t.json", tmp_path / "t.json.gz"
    plain.write_bytes(data)
    zipped.write_bytes(gzip.compress(data))
    assert read_trace(plain) == read_trace(zipped) == Trace("ab", (((0, 1, "ü"),), ((1, 0, "x"), (2, 1, ""))))


@pytest.mark.parametrize(
    ("data", "name", "word"),
    [
        (None, "t.json", "No such file"),
        (b"", "t.json", "not an editing trace"),
        (b"[]", "t.json", "not an editing trace"),
        (b'{"startContent": ""}', "t.json", "not an editing trace"),
        (b'{"startContent": "", "txns": [{"patches": [[0, 0]]}]}', "t.json", "not an editing trace"),
        (b'{"startContent": "", "txns": [{"patches": [[Infinity, 0, ""]]}]}', "t.json", "not an editing trace"),
        (b"\xff\xfe\xfd", "t.json", "not an editing trace"),
        (b"plain", "t.json.gz", "gzip"),
        (gzip.compress(as_json([]), mtime=0)[:-10], "t.json.gz", "not an editing trace"),
        (gzip.compress(b"x" * 99, mtime=0)[:12] + b"\xff" * 20, "t.json.gz", "not an editing trace"),
        (as_json([[(0, 0, "\ud800")]]), "t.json", "not an editing trace"),
        (as_json([[(3, 0, "")]]), "t.json", "outside its text"),
        (as_json([[(-1, 0, "")]]), "t.json", "outside its text"),
        (as_json([[(1, 2, "")]]), "t.json", "outside its text"),
        (as_json([[(1, -1, "")]]), "t.json", "outside its text"),
        (as_json([[(0, 0, "a\r\n")]]), "t.json", "carriage returns"),
    ],
)
def test_an_invalid_trace_is_refused(tmp_path: Path, data: bytes | None, name: str, word: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(CommandError, match=word) as raised:
        read_trace(path)
    assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.parametrize(("first", "n_edits", "n"), [(0, 9, 2), (1, 9, 1), (0, 1, 1), (2, 1, 0), (-1, 1, 0), (0, 0, 0)])
def test_the_range_of_edits_is_checked(first: int, n_edits: int, n: int) -> None:
    trace = Trace("", ((), ()))
    if n:
        assert check_range(trace, Path("t"), first, n_edits) == n
    else:
        with pytest.raises(CommandError, match="t has 2 edits"):
            check_range(trace, Path("t"), first, n_edits)


@pytest.mark.shared
def test_the_recorded_trace_ends_with_its_final_text(shared: Path) -> None:
    path = shared / "data/rustcode.json.gz"
    trace = read_trace(path)
    end = json.loads(gzip.decompress(path.read_bytes()))["endContent"]
    assert text_before(trace, len(trace.transactions)) == end
    first = len(trace.transactions) - 50
    *_, last = edits_of(trace, first, 50)
    assert last.text == end


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 100))
def test_percentiles_are_the_smallest_value_with_enough_at_or_below(values: list[int], percent: int) -> None:
    found = percentile(values, percent / 100)
    enough = percent * len(values) / 100
    assert sum(value <= found for value in values) >= enough - 1e-9
    assert sum(value < found for value in values) < enough


@pytest.mark.parametrize(
    ("written", "given_by_user", "name"),
    [
        (None, None, PLAIN_TEXT),
        ("main.rs", None, "main.rs"),
        ("src/main.rs", None, "main.rs"),
        ("a.rs", "b.go", "b.go"),
    ],
)
def test_the_name_of_the_edited_file(tmp_path: Path, written: str | None, given_by_user: str | None, name: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"startContent": "", "txns": []} | ({"name": written} if written else {})))
    assert document_name(read_trace(path), given_by_user) == name


@pytest.mark.parametrize("name", ["", "..", ".", "a/b.py", "/a.py", "a\0.py"])
def test_an_invalid_name_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match="expected a file name"):
        document_name(Trace("", ()), name)
