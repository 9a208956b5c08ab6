"""Documents: edits in the protocol's order, versions, and recovery when editor and server disagree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starcoder_lsp.documents.documents import (
    MAX_BYTES,
    Documents,
    Edit,
    OutOfSyncError,
    UnknownDocumentError,
    language_of,
    unreadable_reason,
)

URI = "file:///home/me/a%20b/example.py"

pieces = st.sampled_from(
    ["a", "def f():\n", "    pass", "\n", "\r\n", "\r", "é", "漢", "😀", "😁", "\u2028", "\ud83d", ""]
)
strings = st.lists(pieces, max_size=12).map("".join)


def opened(text: str = "a = 1\nb = 2\n", version: int = 1, language_id: str = "python") -> Documents:
    documents = Documents()
    documents.open(URI, language_id, version, text)
    return documents


def insert(text: str, line: int = 0, character: int = 0) -> Edit:
    return Edit(line, character, line, character, text)


def text_of(documents: Documents) -> str:
    snapshot = documents.get(URI)
    assert snapshot is not None
    return snapshot.text.to_str()


@settings(deadline=None)
@given(strings, st.lists(strings, max_size=5))
def test_a_whole_text_replaces_any_other(first: str, others: list[str]) -> None:
    documents = opened(first)
    for version, text in enumerate(others, 2):
        snapshot = documents.change(URI, version, [Edit.whole(text)], "utf-16")
        assert snapshot.text.to_str() == text
        assert snapshot.version == version
        assert snapshot.syntax is not None
        tree = snapshot.syntax.tree
        assert tree is not None
        assert tree.root_node.end_byte <= len(snapshot.text.data)


@settings(deadline=None)
@given(strings, strings, st.data())
def test_edits_of_a_notification_apply_one_after_another(string: str, new: str, data: st.DataObject) -> None:
    """Single-line texts, where a position in UTF-32 is an index into the string."""
    string, new = ("".join(part.splitlines()) for part in (string, new))
    documents = opened(string)
    edits = []
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(string)))
        end = data.draw(st.integers(0, len(string)))
        edits.append(Edit(0, start, 0, end, new))  # some versions run backwards
        string = string[: min(start, end)] + new + string[max(start, end) :]
    documents.change(URI, 2, edits, "utf-32")
    assert text_of(documents) == string


def test_a_snapshot_does_not_change() -> None:
    documents = opened()
    old = documents.get(URI)
    assert old is not None
    new = documents.change(URI, 2, [insert("import x\n")], "utf-8")
    assert (old.version, old.text.to_str()) == (1, "a = 1\nb = 2\n")
    assert (new.version, new.text.to_str()) == (2, "import x\na = 1\nb = 2\n")
    assert old.syntax is not None
    assert new.syntax is not None
    assert (old.syntax.imports(), new.syntax.imports()) == ((), ((0, 8),))


def test_versions_may_have_gaps_and_a_change_may_be_empty() -> None:
    documents = opened()
    assert documents.change(URI, 7, [], "utf-16").version == 7
    assert documents.change(URI, 9, [insert("x")], "utf-16").text.to_str().startswith("xa")


@pytest.mark.parametrize("versions", [[1, 1, 1], [0, 0, 0], [9, 3, 4], [-1, -1, 2]])
def test_edits_apply_in_the_order_of_arrival_whatever_their_versions(versions: list[int]) -> None:
    documents = opened()
    seen = [documents.get(URI).version]
    for number, version in enumerate(versions):
        snapshot = documents.change(URI, version, [insert(str(number))], "utf-16")
        seen.append(snapshot.version)
        assert snapshot.is_numbered == (snapshot.version == version)
    assert text_of(documents).startswith("210")
    assert seen == sorted(set(seen)), "two texts never have the same version"


def test_a_document_that_misses_an_edit_is_unavailable_until_its_whole_text_comes() -> None:
    documents = opened()
    documents.mark_out_of_sync(URI)
    assert documents.out_of_sync == {URI}
    assert not documents.is_in_sync(URI)
    assert documents.get(URI) is None
    assert list(documents) == []
    assert URI in documents
    with pytest.raises(OutOfSyncError, match="an earlier edit is missing"):
        documents.change(URI, 5, [insert("x")], "utf-16")
    documents.change(URI, 2, [insert("no matter"), Edit.whole("all new\n"), insert("is ", 0, 4)], "utf-16")
    assert text_of(documents) == "all is new\n"
    assert documents.is_in_sync(URI)
    assert documents.out_of_sync == set()


def test_opening_a_document_again_brings_it_back_into_sync() -> None:
    documents = opened()
    documents.mark_out_of_sync(URI)
    documents.open(URI, "python", 1, "fresh")
    assert text_of(documents) == "fresh"
    documents.mark_out_of_sync("file:///never-opened")
    assert documents.out_of_sync == set()


def test_an_error_names_the_unknown_document() -> None:
    documents = Documents()
    assert documents.get(URI) is None
    assert not documents.is_in_sync(URI)
    with pytest.raises(UnknownDocumentError, match=URI):
        documents.change(URI, 1, [], "utf-16")
    with pytest.raises(UnknownDocumentError, match=URI):
        documents.close(URI)


def test_a_closed_document_is_forgotten() -> None:
    documents = opened()
    documents.close(URI)
    assert URI not in documents
    assert documents.get(URI) is None


def test_iteration_yields_the_open_documents() -> None:
    documents = opened()
    documents.open("file:///b.rs", "rust", 1, "")
    assert [snapshot.uri for snapshot in documents] == [URI, "file:///b.rs"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\0b", "not text: it has NUL bytes"),
        ("a" * (MAX_BYTES + 1), "larger than 4 MiB"),
        ("a" * MAX_BYTES, None),
        ("", None),
    ],
    ids=["binary", "large", "just not too large", "empty"],
)
def test_a_binary_or_large_document_is_declined_and_never_parsed(text: str, reason: str | None) -> None:
    snapshot = opened(text).get(URI)
    assert snapshot is not None
    assert unreadable_reason(snapshot) == reason
    assert (snapshot.syntax is None) == (reason is not None)


def test_a_document_is_served_again_once_the_reason_is_gone() -> None:
    documents = opened("a = 1")
    assert documents.change(URI, 2, [insert("\0")], "utf-16").syntax is None
    mended = documents.change(URI, 3, [Edit(0, 0, 0, 1, "")], "utf-16")
    assert unreadable_reason(mended) is None
    assert mended.syntax is not None


def test_a_language_without_a_grammar_has_no_syntax() -> None:
    assert Documents().open("untitled:Untitled-1", "plaintext", 1, "text").syntax is None


@pytest.mark.parametrize("uri", [URI, "untitled:x.py", "file:///c%3A/a.PY", "weird://[/x.py"])
def test_a_language_unknown_to_the_editor_is_found_by_the_file_name(uri: str) -> None:
    snapshot = Documents().open(uri, "plaintext", 1, "")
    assert language_of(snapshot).id == "python"
