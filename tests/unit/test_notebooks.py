"""Notebooks: the joined text always equals its cells, and places in cells map to places in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Node

from starcoder_lsp.documents.documents import Edit, OutOfSyncError, UnknownDocumentError
from starcoder_lsp.documents.notebooks import (
    Cell,
    CellEdits,
    CellSplice,
    CellText,
    NotebookChange,
    Notebooks,
    View,
)
from starcoder_lsp.documents.text import Text
from starcoder_lsp.documents.uris import joined_uri, path_of

URI = "file:///home/me/a%20b/study.ipynb"
CODE, MARKUP = "python", "markdown"

pieces = st.sampled_from(
    ["a = 1", "def f():\n", "    ", "%magic", "\n", "\r\n", "\r", "é", "😀", "\u2028", "\ud83d", ""]
)
strings = st.lists(pieces, max_size=6).map("".join)
indices = st.integers(0, 10**6)


def uri_of(number: int) -> str:
    return f"vscode-notebook-cell:/home/me/study.ipynb#{number}"


def opened(*texts: str, version: int = 1, languages: Sequence[str] = ()) -> Notebooks:
    """Return a notebook with cells 0, 1, ... in Python or in `languages`."""
    notebooks = Notebooks()
    languages = [*languages, *[CODE] * (len(texts) - len(languages))]
    notebooks.open(
        URI,
        version,
        [Cell(uri_of(n), language == MARKUP) for n, language in enumerate(languages)],
        [
            CellText(uri_of(n), language, 1, text)
            for n, (language, text) in enumerate(zip(languages, texts, strict=True))
        ],
    )
    return notebooks


def view_of(notebooks: Notebooks, number: int) -> View:
    view = notebooks.view(uri_of(number))
    assert view is not None
    return view


def text_above(notebooks: Notebooks, number: int) -> str:
    view = view_of(notebooks, number)
    return view.whole.text.data[: view.offset_byte].decode("utf-8", "surrogatepass")


def edit_of(number: int, version: int, *edits: Edit) -> NotebookChange:
    return NotebookChange(edits=(CellEdits(uri_of(number), version, edits),))


@define
class Sheet:
    """The editor's cells as plain strings: the oracle."""

    notebooks: Notebooks
    cells: list[tuple[int, str, str]]
    """Number, language and text of each cell."""
    numbers: count[int] = field(factory=lambda: count(100))
    version: int = 1

    def fresh(self, number: int) -> Notebooks:
        """Return a new notebook, opened with the present cells."""
        notebooks = Notebooks()
        notebooks.open(
            URI,
            self.version,
            [Cell(uri_of(n), language == MARKUP) for n, language, _ in self.cells],
            [CellText(uri_of(n), language, 1, text) for n, language, text in self.cells],
        )
        assert uri_of(number) in notebooks
        return notebooks

    def change(self, change: NotebookChange) -> None:
        self.version += 1
        self.notebooks.change(URI, self.version, change, "utf-32")

    def edit(self, data: st.DataObject) -> None:
        index = data.draw(indices) % len(self.cells)
        number, language, string = self.cells[index]
        text, new = Text.from_str(string), data.draw(strings)
        places = [data.draw(st.tuples(st.integers(0, 5), st.integers(0, 12))) for _ in range(2)]
        start, end = sorted(text.byte_at(*place, "utf-32") for place in places)
        after = text.splice(start, end, new.encode("utf-8", "surrogatepass")).to_str()
        self.cells[index] = number, language, after
        edit = Edit.whole(after) if data.draw(st.booleans()) else Edit(*places[0], *places[1], new)
        self.change(edit_of(number, self.version + 1, edit))

    def restructure(self, data: st.DataObject) -> None:
        start, end = sorted(data.draw(indices) % (len(self.cells) + 1) for _ in range(2))
        removed = self.cells[start:end]
        kept = data.draw(st.permutations(removed)) if data.draw(st.booleans()) else []  # moved, or deleted
        languages = data.draw(st.lists(st.sampled_from([CODE, MARKUP, "sql"]), max_size=2))
        new = [(next(self.numbers), language, data.draw(strings)) for language in languages]
        if start == 0 and end == len(self.cells) and not kept:
            new.append((next(self.numbers), CODE, ""))
        self.cells[start:end] = [*kept, *new]
        cells = tuple(Cell(uri_of(n), language == MARKUP) for n, language, _ in (*kept, *new))
        self.change(
            NotebookChange(
                splice=CellSplice(start, end - start, cells),
                closed=tuple(uri_of(n) for n, _, _ in removed if n not in {n for n, _, _ in kept}),
                opened=tuple(CellText(uri_of(n), language, self.version, text) for n, language, text in new),
            )
        )


@settings(deadline=None)
@given(st.data())
def test_after_any_changes_the_joined_text_equals_that_of_a_new_notebook(
    data: st.DataObject,
) -> None:
    texts = data.draw(st.lists(strings, min_size=1, max_size=4))
    sheet = Sheet(opened(*texts), [(n, CODE, text) for n, text in enumerate(texts)])
    for _ in range(data.draw(st.integers(1, 6))):
        data.draw(st.sampled_from([sheet.edit, sheet.restructure]))(data)
        number, language, text = sheet.cells[data.draw(indices) % len(sheet.cells)]
        view, fresh = view_of(sheet.notebooks, number), view_of(sheet.fresh(number), number)
        assert view.own.text == Text.from_str(text) == fresh.own.text
        assert view.whole.text == fresh.whole.text == Text.from_bytes(view.whole.text.data)
        assert (view.offset_byte, view.whole.uri) == (fresh.offset_byte, joined_uri(URI, language))
        assert view.whole.text.data.startswith(view.own.text.data, view.offset_byte)


def test_the_tree_of_the_joined_text_follows_edits_and_structure() -> None:
    code = "def total(values):\n    return sum(values)\n"
    notebooks = opened("import os", code, "total([])")
    changes = [
        edit_of(1, 2, Edit(1, 22, 1, 22, "\n\nx = 1")),
        NotebookChange(splice=CellSplice(0, 2, (Cell(uri_of(1)), Cell(uri_of(0))))),
        edit_of(0, 2, Edit(0, 9, 0, 9, ", sys")),
        NotebookChange(splice=CellSplice(0, 1), closed=(uri_of(1),)),
    ]
    for version, change in enumerate(changes, 2):
        assert tree_of(view_of(notebooks, 2)) is not None
        notebooks.change(URI, version, change, "utf-16")
        view = view_of(notebooks, 2)
        fresh = view_of(opened(view.whole.text.to_str()), 0)
        assert fresh.whole.text.to_str() == view.whole.text.to_str() + "\n\n"
        assert str(tree_of(view)) == str(tree_of(fresh))
    assert view.whole.text.data == b"import os, sys\n\ntotal([])\n\n"


def tree_of(view: View) -> Node:
    assert view.whole.syntax is not None
    assert view.whole.syntax.tree is not None
    return view.whole.syntax.tree.root_node


@given(strings, strings, indices)
def test_lines_of_cells_are_lines_of_the_joined_text(first: str, second: str, at: int) -> None:
    """The end of a cell and the start of the next one never merge into one line end."""
    view = view_of(opened(first, second), 1)
    own, whole = view.own.text, view.whole.text
    line, character = own.position_of(at % (len(own.data) + 1), "utf-16")
    first_line = whole.line_of(view.offset_byte)
    assert whole.line_starts[first_line] == view.offset_byte
    byte = own.byte_at(line, character, "utf-16")
    assert whole.byte_at(first_line + line, character, "utf-16") == view.offset_byte + byte


def test_the_joined_text_has_cells_of_one_language_and_markup_as_comments() -> None:
    notebooks = opened(
        "import os", "# Title\n\nSome text", "select 1", "x = 1\n", "y", languages=[CODE, MARKUP, "sql", CODE, CODE]
    )
    assert text_above(notebooks, 4) == "import os\n\n# # Title\n#\n# Some text\n\nx = 1\n\n\n"
    assert view_of(notebooks, 0).whole is view_of(notebooks, 4).whole
    assert view_of(notebooks, 1).whole.text.data == b"# Title\n\nSome text\n\n"
    assert view_of(notebooks, 2).whole.text.data == b"-- # Title\n--\n-- Some text\n\nselect 1\n\n"
    assert view_of(notebooks, 2).whole.language_id == "sql"


def test_markup_may_become_code() -> None:
    notebooks = opened("# a", "b", languages=[MARKUP, CODE])
    assert text_above(notebooks, 1) == "# # a\n\n"
    notebooks.change(URI, 2, NotebookChange(changed_cells=(Cell(uri_of(0)), Cell("of another notebook"))), "utf-16")
    assert text_above(notebooks, 1) == ""


def test_typing_in_a_cell_keeps_the_snapshot_of_another_language() -> None:
    notebooks = opened("a = 1", "text", languages=[CODE, MARKUP])
    markup = view_of(notebooks, 1).whole
    notebooks.change(URI, 2, edit_of(0, 2, Edit(0, 5, 0, 5, "0")), "utf-16")
    assert view_of(notebooks, 1).whole is markup
    assert view_of(notebooks, 0).whole.text.data == b"a = 10\n\n# text\n\n"


@pytest.mark.parametrize(
    "change",
    [
        NotebookChange(splice=CellSplice(3, 0, ())),
        NotebookChange(splice=CellSplice(1, 2, ())),
        NotebookChange(splice=CellSplice(2**31 - 1, 2**31 - 1, ())),
        NotebookChange(closed=(uri_of(9),)),
        edit_of(9, 2, Edit.whole("x")),
    ],
)
def test_a_change_of_unknown_cells_puts_the_notebook_out_of_sync(change: NotebookChange) -> None:
    notebooks = opened("a", "b")
    with pytest.raises((OutOfSyncError, UnknownDocumentError)):
        notebooks.change(URI, 2, change, "utf-16")
    assert notebooks.view(uri_of(0)) is None
    with pytest.raises(OutOfSyncError):
        notebooks.change(URI, 3, edit_of(0, 2, Edit.whole("x")), "utf-16")
    assert notebooks.view(uri_of(0)) is None
    notebooks.open(URI, 1, [Cell(uri_of(0))], [CellText(uri_of(0), CODE, 1, "a")])
    assert view_of(notebooks, 0).whole.text.data == b"a\n\n"
    assert uri_of(1) not in notebooks


@pytest.mark.parametrize("version", [6, 5, 4, 0])
def test_the_notebooks_version_may_stay_or_go_back(version: int) -> None:
    """VS Code raises the version late, or not at all, when a cell's text changes."""
    notebooks = opened("a", version=5)
    notebooks.change(URI, version, edit_of(0, version, Edit(0, 1, 0, 1, "b")), "utf-16")
    notebooks.change(URI, version, edit_of(0, version, Edit(0, 2, 0, 2, "c")), "utf-16")
    assert view_of(notebooks, 0).whole.text.data == b"abc\n\n"
    assert notebooks.out_of_sync() == set()


def test_a_cell_that_misses_an_edit_is_out_of_sync_until_its_whole_text_comes() -> None:
    """Until then no cell of the notebook is completed. The edits of other cells are applied."""
    notebooks = opened("a", "b")
    notebooks._notebooks[URI].texts.mark_out_of_sync(uri_of(0))
    assert notebooks.out_of_sync() == {uri_of(0)}
    stale, good = edit_of(0, 2, Edit(0, 1, 0, 1, "x")).edits, edit_of(1, 2, Edit(0, 1, 0, 1, "c")).edits
    with pytest.raises(OutOfSyncError):
        notebooks.change(URI, 2, NotebookChange(edits=(*stale, *good)), "utf-16")
    assert notebooks.view(uri_of(0)) is None
    assert notebooks.view(uri_of(1)) is None
    notebooks.change(URI, 3, edit_of(0, 2, Edit.whole("new")), "utf-16")
    assert view_of(notebooks, 1).whole.text.data == b"new\n\nbc\n\n"


def test_cells_without_text_and_texts_without_cell_are_ignored() -> None:
    notebooks = Notebooks()
    notebooks.open(URI, 1, [Cell("no text"), Cell(uri_of(0))], [CellText(uri_of(n), CODE, 1, f"{n}") for n in (0, 1)])
    assert view_of(notebooks, 0).whole.text.data == b"0\n\n"
    assert notebooks.view(uri_of(1)) is None
    with pytest.raises(UnknownDocumentError):
        notebooks.view("no text")


def test_a_closed_notebook_and_its_joined_texts_are_forgotten() -> None:
    notebooks = opened("a", "b")
    view_of(notebooks, 1)
    assert notebooks.joined(joined_uri(URI, CODE)) is not None
    assert notebooks.joined_uris(URI) == [joined_uri(URI, CODE)]
    notebooks.close(URI)
    assert notebooks.joined_uris(URI) == []
    assert notebooks.joined(joined_uri(URI, CODE)) is None
    assert uri_of(0) not in notebooks
    for what in (notebooks.close, notebooks.mark_out_of_sync, notebooks.view):
        with pytest.raises(UnknownDocumentError):
            what(URI)
    with pytest.raises(UnknownDocumentError):
        notebooks.change(URI, 2, NotebookChange(), "utf-16")


@pytest.mark.parametrize(
    "uri",
    [
        "file:///home/me/a%20b/study.ipynb",
        "file:///c%3A/Users/me/study.ipynb",
        "file://server/share/study.ipynb",
        "file:///odd/%23?name#.ipynb",
        "untitled:Untitled-1.ipynb",
        "vscode-remote://wsl%2Bubuntu/home/me/study.ipynb",
        "",
    ],
)
def test_the_joined_text_has_the_path_of_its_notebook(uri: str) -> None:
    assert path_of(joined_uri(uri, "py#thon")) == path_of(uri)


def test_a_uri_may_contain_half_a_surrogate_pair() -> None:
    assert joined_uri("file:///\ud83d.ipynb", CODE).endswith(".ipynb#python")
