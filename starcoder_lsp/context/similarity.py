"""The similarity of pieces of code: the Jaccard index of their identifiers.

RepoCoder (arXiv:2303.12570) uses the same, and found embeddings no better.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain, pairwise
from typing import Final

from attrs import frozen

from starcoder_lsp.lru import cached_by_text

WINDOW_LINES: Final = 24
WINDOW_STEP: Final = 12
"""Windows start at multiples of this. Neither is measured."""
MAX_LINE_BYTES: Final = 400
"""Lines longer than this on average are data or minified code. Not measured."""
MAX_STEP_BYTES: Final = WINDOW_STEP * MAX_LINE_BYTES

MAX_CACHED_BYTES: Final = 8 * 1024 * 1024
"""Texts whose windows are cached; these take some six times as much."""

IDENTIFIER: Final = re.compile(rb"(?<![\w\x80-\xff])[a-zA-Z_\x80-\xff][\w\x80-\xff]{2,}")
"""At least three bytes long; shorter identifiers occur everywhere."""


def identifiers(text: bytes) -> frozenset[bytes]:
    """Return the identifiers of a text."""
    return frozenset(IDENTIFIER.findall(text))


def similarity(one: frozenset[bytes], other: frozenset[bytes]) -> float:
    """Return the Jaccard index of two sets, 0 to 1."""
    n_all = len(one | other)
    return len(one & other) / n_all if n_all else 0.0


def most_similar(near: frozenset[bytes], data: bytes, least: float) -> tuple[int, int, float] | None:
    """Return the window of a text that is most similar to the identifiers `near`, if by more than `least`.

    The result is `(first line from 0, line after the last one, similarity)`. The first of equal windows wins.
    """
    known = _windows(data)
    where = [known.by_identifier[identifier] for identifier in near if identifier in known.by_identifier]
    if len(where) <= least * len(near):
        return None  # no window shares more than these
    found = None
    for index, n_shared in sorted(Counter(chain.from_iterable(where)).items()):
        start, end, n_identifiers = known.spans[index]
        similarity_of_window = n_shared / (len(near) + n_identifiers - n_shared)
        if similarity_of_window > least:
            least, found = similarity_of_window, (start, end, similarity_of_window)
    return found


@frozen
class _Windows:
    """A text's windows: `(first line, line after the last, number of identifiers)`, and an index by identifier."""

    spans: tuple[tuple[int, int, int], ...]
    by_identifier: dict[bytes, list[int]]


@cached_by_text(MAX_CACHED_BYTES)
def _windows(data: bytes) -> _Windows:
    lines = data.splitlines()
    steps = [b"\n".join(lines[start : start + WINDOW_STEP]) for start in range(0, len(lines), WINDOW_STEP)]
    found = [identifiers(step) if len(step) <= MAX_STEP_BYTES else None for step in steps]
    spans: list[tuple[int, int, int]] = []
    by_identifier: dict[bytes, list[int]] = {}
    for index, (above, below) in enumerate(pairwise([*found, frozenset()] if len(found) == 1 else found)):
        if above is not None and below is not None:
            both = above | below
            for identifier in both:
                by_identifier.setdefault(identifier, []).append(len(spans))
            spans.append((index * WINDOW_STEP, min((index + 2) * WINDOW_STEP, len(lines)), len(both)))
    return _Windows(tuple(spans), by_identifier)
