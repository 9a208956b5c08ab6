"""An outline that moves definitions on demand, against one that moves all of them at each change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.context.outline import MAX_CHANGES, Outline
from starcoder_lsp.context.text_change import TextChange
from starcoder_lsp.documents.scopes import Scope

NAMES = ("a", "b", "c", "d")


@st.composite
def definitions(draw: st.DrawFn) -> list[Scope]:
    """Draw definitions in order; some contain the next one."""
    made, byte = [], 0
    for _ in range(draw(st.integers(0, 12))):
        start = byte + draw(st.integers(0, 5))
        header_end = start + draw(st.integers(1, 8))
        body_start = header_end + draw(st.integers(0, 2))
        end = body_start + draw(st.integers(0, 40))
        made.append(Scope("function", draw(st.sampled_from(NAMES)), start, header_end, body_start, end))
        byte = draw(st.sampled_from([header_end, end]))
    return made


CHANGES = st.lists(
    st.builds(
        lambda start, n_old, n_new: TextChange(start, start + n_old, n_new - n_old),
        *(st.integers(0, limit) for limit in (150, 15, 15)),
    ),
    max_size=2 * MAX_CHANGES + 3,
)


@given(definitions(), CHANGES, st.sets(st.sampled_from(NAMES)), st.integers(0, 200), st.integers(0, 200))
def test_a_definition_is_found_at_its_place_after_changes(
    scopes: list[Scope], changes: list[TextChange], names: set[str], one: int, other: int
) -> None:
    outline, expected = Outline.of(scopes), scopes
    for change in changes:
        outline = outline.moved(change)
        expected = [moved for scope in expected if (moved := change.scope(scope)) is not None]
    first, last = sorted((one, other))
    between = [scope for scope in expected if first <= scope.start_byte < last]
    assert list(outline.above(last, first)) == between[::-1]
    assert list(outline.below(first)) == [scope for scope in expected if first <= scope.start_byte]
    named = [scope for scope in expected if scope.name in names and scope.start_byte < last]
    assert list(outline.named({name.encode() for name in names}, last)) == named[::-1]


def test_a_definition_with_a_qualified_name_is_found_by_its_last_part() -> None:
    scopes = [
        Scope("function", name, start, start + 5, start + 5, start + 9) for start, name in ((0, "A::f"), (10, "g"))
    ]
    assert list(Outline.of(scopes).named({b"f"}, 99)) == scopes[:1]
