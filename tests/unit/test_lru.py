"""`LruDict` and `cached_by_text` against a plain list of items in the order of use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.lru import LruDict, cached_by_text

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


@given(st.lists(st.binary(max_size=6), max_size=40), st.integers(0, 20))
def test_a_cache_by_text_keeps_the_texts_used_last_up_to_its_bytes(texts: list[bytes], max_bytes: int) -> None:
    computed: list[bytes] = []
    cached = cached_by_text(max_bytes)(lambda text: computed.append(text) or text[::-1])
    kept: list[bytes] = []  # newest last
    for text in texts:
        n_before = len(computed)
        assert cached(text) == text[::-1]
        assert (len(computed) == n_before) == (text in kept)
        kept = [other for other in kept if other != text] + [text]
        while sum(map(len, kept)) > max_bytes and len(kept) > 1:
            kept.pop(0)
