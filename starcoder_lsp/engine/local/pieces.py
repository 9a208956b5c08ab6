"""The tokens of a vocabulary by their bytes, to choose among tokens that agree with a text or avoid some bytes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

TokenIds = NDArray[np.intp]


@frozen
class PieceIndex:
    """Every token's bytes, sorted, to find the tokens that agree with a text."""

    _pieces: tuple[bytes, ...]
    _ids: TokenIds

    @classmethod
    def of(cls, pieces: Iterable[tuple[bytes, int]]) -> PieceIndex:
        """Index `(bytes, token id)` pairs; tokens without bytes (markers) are left out."""
        ranked = sorted(pair for pair in pieces if pair[0])
        return cls(tuple(piece for piece, _ in ranked), np.array([token_id for _, token_id in ranked], dtype=np.intp))

    def agreeing(self, text: bytes) -> TokenIds:
        """Return the ids of the tokens that begin with `text`, which is not empty, or that `text` begins with."""
        heads = (text[:n_bytes] for n_bytes in range(1, len(text)))
        return np.concatenate([self._from_to(text, _behind(text)), *(self._from_to(h, h + b"\0") for h in heads)])

    def without(self, avoid: bytes) -> TokenIds:
        """Return the ids of the tokens that have none of the bytes `avoid`. Looks at every token."""
        return self._ids[[len(piece.translate(None, avoid)) == len(piece) for piece in self._pieces]]

    def _from_to(self, first: bytes, behind: bytes | None) -> TokenIds:
        end = len(self._pieces) if behind is None else bisect_left(self._pieces, behind)
        return self._ids[bisect_left(self._pieces, first) : end]


def _behind(text: bytes) -> bytes | None:
    """Return the first text in order behind all texts that begin with `text`, or `None`."""
    head = text.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else None
