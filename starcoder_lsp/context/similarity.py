"""How alike pieces of code are: the Jaccard index of their identifiers.

As in RepoCoder (arXiv:2303.12570), where embeddings were no better.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import chain, pairwise
from typing import Final

from attrs import frozen

WINDOW_LINES: Final = 24
WINDOW_STEP: Final = 12
MAX_LINE_BYTES: Final = 400
"""On the average of some lines; beyond it is data, or minified."""
MAX_STEP_BYTES: Final = WINDOW_STEP * MAX_LINE_BYTES

IDENTIFIER: Final = re.compile(rb"(?<![\w\x80-\xff])[a-zA-Z_\x80-\xff][\w\x80-\xff]{2,}")
"""One of three bytes or more; shorter ones stand everywhere."""


def identifiers(text: bytes) -> frozenset[bytes]:
    """The identifiers of a text."""
    return frozenset(IDENTIFIER.findall(text))


def similarity(one: frozenset[bytes], other: frozenset[bytes]) -> float:
    """The share that two sets have in common, 0 to 1."""
    n_all = len(one | other)
    return len(one & other) / n_all if n_all else 0.0


def most_similar(near: frozenset[bytes], data: bytes, least: float) -> tuple[int, int, float] | None:
    """The window of a text whose identifiers are most like `near`, and more than `least`.

    Its first line, from 0, the line behind its last one, and the likeness. Of windows that are equally alike it is the
    first one.
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
    """A text's windows, ``(first line, line behind the last, number of identifiers)``, and which have an identifier."""

    spans: tuple[tuple[int, int, int], ...]
    by_identifier: dict[bytes, list[int]]


@lru_cache(maxsize=128)
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
