"""`LruDict` against a plain list of items in the order of use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.lru import LruDict

OPERATIONS = st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 9)))


@given(max_items=st.integers(1, 4), operations=OPERATIONS)
def test_the_most_recently_used_items_stay(max_items: int, operations: list[tuple[bool, int, int]]) -> None:
    held: LruDict[int, int] = LruDict(max_items)
    expected: list[tuple[int, int]] = []
    for is_stored, key, value in operations:
        known = dict(expected).get(key)
        if is_stored:
            held[key] = value
        else:
            assert held.use(key) == known
        if is_stored or known is not None:
            rest = [item for item in expected if item[0] != key]
            expected = [*rest, (key, value if is_stored else known)][-max_items:]
        assert list(held.items()) == expected


def test_a_plain_read_does_not_count_as_use() -> None:
    held: LruDict[str, int] = LruDict(2)
    held["a"], held["b"] = 1, 2
    assert (held["a"], held.get("a")) == (1, 1)
    held["c"] = 3
    assert list(held) == ["b", "c"]
