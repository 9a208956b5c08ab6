"""The search for the most similar window of a text, against a comparison with every window."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from starcoder_lsp.context.similarity import (
    MAX_STEP_BYTES,
    WINDOW_LINES,
    WINDOW_STEP,
    identifiers,
    most_similar,
    similarity,
)

LINES = st.lists(st.sampled_from(["", "x = 1", "one = two", "for three in four:", "five(six)", "été"]), max_size=60)
NEAR = st.frozensets(st.sampled_from([b"one", b"two", b"three", b"four", b"five", b"for", "été".encode(), b"else"]))


@given(LINES, NEAR, st.sampled_from([0.0, 0.175, 0.5]))
@example([], frozenset(), 0.0)
@example(
    ["one = two"], frozenset({b"one", b"two", b"four", b"five"}), 0.5
)  # exactly as similar as the threshold, which is too little
def test_the_first_of_the_most_similar_windows_is_found(lines: list[str], near: frozenset[bytes], least: float) -> None:
    found = None
    for start in range(0, max(len(lines) - WINDOW_STEP, 1), WINDOW_STEP):
        window = lines[start : start + WINDOW_LINES]
        similarity_of_window = similarity(near, identifiers("\n".join(window).encode()))
        if similarity_of_window > (found[2] if found else least):
            found = start, start + len(window), similarity_of_window
    assert most_similar(near, "".join(f"{line}\n" for line in lines).encode(), least) == found


def test_text_without_words_is_similar_to_nothing() -> None:
    near = frozenset({b"one", b"two"})
    assert similarity(frozenset(), frozenset()) == 0
    assert most_similar(near, b"one two\n", 0.5) == (0, 1, 1.0)
    assert most_similar(near, b"one two " * MAX_STEP_BYTES, 0.5) is None
    assert identifiers(b"a bc 1def _x1 x\xff\xff x.yz() \xc3\xa9t\xc3\xa9") == {b"_x1", b"x\xff\xff", "été".encode()}
