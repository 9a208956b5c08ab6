"""Properties of reindenting for any text. The golden cases are in `tests/golden/indented.py`."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.suggestions.cursor_context import CursorContext, describe_cursor
from starcoder_lsp.suggestions.reindent import _Writer, reindented

UNITS = ["\t", "  ", "   ", "    ", " " * 8]
FILE = "class A:\n{0}def g(self):\n{0}{0}return 1\n\n{0}def f(self):"
BODY = st.recursive(
    st.just(["x = 1"]),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda parts: ["if a:", *("\t" + line for part in parts for line in part)]
    ),
    max_leaves=6,
)
"""Lines of nested blocks, a tab for each level."""
RAW = st.lists(
    st.tuples(st.text(" \t", max_size=9), st.sampled_from(["x = 1", "if a:", "g(", ")", "}", "# a", '"""', "* b", ""])),
    max_size=8,
).map(lambda lines: "\n".join(blank + code for blank, code in lines))


PLACES = st.sampled_from([FILE, FILE + "\n{0}{0}", FILE + "\n{0}", FILE + "\n"])


def site(text: str) -> CursorContext:
    snapshot = Documents().open("file:///case", "python", 1, text)
    return describe_cursor(snapshot, len(text.encode()), "auto")


@pytest.mark.parametrize("unit", UNITS)
@given(body=BODY, written_in=st.sampled_from(["  ", "    "]))
def test_blocks_of_any_depth_get_the_unit_of_the_file(unit: str, body: list[str], written_in: str) -> None:
    base = 2 * len(unit.replace("\t", "    "))  # the model sees the depth of the function
    wrong = "".join(f"\n{' ' * base}{line.replace(chr(9), written_in)}" for line in body)
    right = "".join(f"\n{unit}{unit}{line.replace(chr(9), unit)}" for line in body)
    assert reindented(wrong.encode(), site(FILE.format(unit))).decode() == right


@given(unit=st.sampled_from(UNITS), place=PLACES, text=RAW)
@example(
    unit="\t", place="class A:\n{0}def g(self):\n{0}{0}return 1\n\n{0}def f(self):", text='"""\n """\n         x = 1'
)
def test_reindenting_twice_changes_nothing_and_only_blanks_change(unit: str, place: str, text: str) -> None:
    cursor = site(place.format(unit))
    once = reindented(text.encode(), cursor)
    assert reindented(once, cursor) == once
    assert [line.strip() for line in once.split(b"\n")] == [line.strip() for line in text.encode().split(b"\n")]


@given(
    unit=st.sampled_from(UNITS),
    place=PLACES,
    code=st.sampled_from(["x", "(", ")", "* b", '"""', "if a:"]),
    n=st.integers(0, 3),
)
def test_a_line_end_alone_changes_nothing(unit: str, place: str, code: str, n: int) -> None:
    cursor, text = site(place.format(unit)), (code + "\n \n" * n).encode()
    indentation = cursor.indentation()
    if indentation is not None and cursor.line_before:
        assert reindented(text, cursor) == _Writer(indentation, cursor).write(text) == text


@given(unit=st.sampled_from(UNITS), place=PLACES, text=RAW, n=st.integers(0, 60))
def test_earlier_lines_do_not_depend_on_later_ones(unit: str, place: str, text: str, n: int) -> None:
    cursor = site(place.format(unit))
    begun = reindented(text[:n].encode(), cursor).rpartition(b"\n")[0]
    assert reindented(text.encode(), cursor).startswith(begun)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("n_units", [0, 1, 2, 3])
def test_a_first_line_behind_whole_units_stays(unit: str, n_units: int) -> None:
    text = (unit * n_units + "x = 1").encode()
    assert reindented(text, site((FILE + "\n{0}").format(unit))) == text
