"""Recently used documents and recent edits."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.documents.documents import Documents, Edit
from starcoder_lsp.session.edit_history import N_EDITS, N_NEAR_LINES, EditHistory


def insertion(line: int, text: str = "x") -> Edit:
    return Edit(line, 0, line, 0, text)


def test_open_documents_are_ordered_by_their_last_use() -> None:
    documents, history = Documents(), EditHistory()
    for name in "abc":
        documents.open(f"file:///{name}", "python", 1, "")
        history.use(f"file:///{name}")
    history.use("file:///a")
    history.use("file:///gone")
    assert [s.uri for s in history.workspace_context("", documents.get).open_documents] == [
        "file:///a",
        "file:///c",
        "file:///b",
    ]
    history.edit("file:///a", [insertion(3)])
    documents.close("file:///a")
    history.close("file:///a")
    around = history.workspace_context("", documents.get)
    assert [s.uri for s in around.open_documents] == ["file:///c", "file:///b"]
    assert around.recent_edits == ()


def test_adjacent_edits_are_one_region() -> None:
    history = EditHistory()
    history.edit("file:///a", [insertion(10), insertion(12, "x\ny\n"), insertion(100)])
    history.edit("file:///b", [insertion(11)])
    history.edit("file:///a", [insertion(9), Edit.whole("all of it")])
    assert history.workspace_context("", Documents().get).recent_edits == (
        ("file:///a", 9, 14),
        ("file:///b", 11, 11),
        ("file:///a", 100, 100),
    )


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2000), st.sampled_from(["", "x", "x\ny\nz\n"]))))
def test_regions_never_overlap_and_are_limited(edits: list[tuple[str, int, str]]) -> None:
    history = EditHistory()
    for uri, line, text in edits:
        history.edit(uri, [insertion(line, text)])
        newest = history.workspace_context("", Documents().get).recent_edits[0]
        assert newest[0] == uri
        assert newest[1] <= line <= newest[2]
    regions = history.workspace_context("", Documents().get).recent_edits
    assert len(regions) <= N_EDITS
    for uri in "ab":
        own = sorted(region[1:] for region in regions if region[0] == uri)
        assert all(one[1] + N_NEAR_LINES < other[0] for one, other in pairwise(own))
