"""The byte offsets at which the lines of a text begin, in blocks: an edit moves some hundred numbers, not all of them.

In a text of 100,000 lines, new numbers for all lines behind an edit take 8 ms, on the event loop and in each of the
some ten texts that a suggestion is tried in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, overload

from attrs import field, frozen

PIECE_BYTES: Final = 4096
"""A text is cut into blocks of so many bytes, some hundred lines of code. Not measured."""
MAX_BLOCK_LINES: Final = 2 * PIECE_BYTES
"""A block that grew beyond this is cut."""


@frozen(eq=False)
class LineStarts(Sequence[int]):
    """Ascending offsets from 0 on. `bases` and `firsts` have the byte and the line with which each block begins."""

    blocks: tuple[tuple[int, ...], ...]
    """Offsets from the block's base; no block is empty."""
    bases: tuple[int, ...]
    firsts: tuple[int, ...] = field(repr=False)
    n_lines: int

    @classmethod
    def of(cls, data: bytes) -> LineStarts:
        r"""Return the line starts of a text: 0, and each byte behind `\n`, `\r\n` or a `\r` alone."""
        blocks: list[tuple[int, ...]] = [(0,)]
        bases, at = [0], 0
        while at < len(data):
            end = _piece_end(data, at)
            piece = data[at:end]
            offsets = tuple(accumulate(map(len, piece.splitlines(keepends=True))))  # bytes split at nothing else
            offsets = offsets if piece.endswith((b"\n", b"\r")) else offsets[:-1]
            if offsets:
                blocks.append(offsets)
                bases.append(at)
            at = end
        return cls._of_blocks(blocks, bases)

    @classmethod
    def _of_blocks(cls, blocks: Sequence[tuple[int, ...]], bases: Sequence[int]) -> LineStarts:
        ends = tuple(accumulate(map(len, blocks), initial=0))
        return cls(tuple(blocks), tuple(bases), ends[:-1], ends[-1])

    def replaced(self, n_head: int, n_tail: int, between: Iterable[int], n_moved: int) -> LineStarts:
        """Return the first `n_head` starts, then `between`, then the last `n_tail` moved by `n_moved` bytes.

        There must be a first one, since each text begins with a line.
        """
        first, n_kept = self._place(n_head - 1)
        base = self.bases[first]
        merged = [*self.blocks[first][: n_kept + 1], *(start - base for start in between)]
        behind = len(self.blocks)
        if n_tail:
            last, n_cut = self._place(self.n_lines - n_tail)
            behind, shift = last + 1, self.bases[last] + n_moved - base
            merged += [start + shift for start in self.blocks[last][n_cut:]]
        cuts = range(0, len(merged), MAX_BLOCK_LINES)
        blocks = [
            *self.blocks[:first],
            *(tuple(merged[at : at + MAX_BLOCK_LINES]) for at in cuts),
            *self.blocks[behind:],
        ]
        bases = [*self.bases[:first], *(base for _ in cuts), *(each + n_moved for each in self.bases[behind:])]
        return self._of_blocks(blocks, bases)

    def n_until(self, byte: int) -> int:
        """Return the number of lines that begin at `byte` or before."""
        block = bisect_right(self.bases, byte) - 1
        # The base of a block is not always a start, so the last start until `byte` may be one of an earlier block.
        while block >= 0:
            n_lines = bisect_right(self.blocks[block], byte - self.bases[block])
            if n_lines:
                return self.firsts[block] + n_lines
            block -= 1
        return 0

    def _place(self, line: int) -> tuple[int, int]:
        """Return the block of a line, and its place there."""
        block = bisect_right(self.firsts, line) - 1
        return block, line - self.firsts[block]

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[int, ...]: ...
    def __getitem__(self, index: int | slice) -> int | tuple[int, ...]:
        """Return the start of a line, or of several. Raises `IndexError`."""
        if isinstance(index, slice):
            return tuple(self[line] for line in range(self.n_lines)[index])
        line = range(self.n_lines)[index]
        block = bisect_right(self.firsts, line) - 1
        return self.bases[block] + self.blocks[block][line - self.firsts[block]]

    def __len__(self) -> int:
        """Return the number of lines."""
        return self.n_lines

    def __iter__(self) -> Iterator[int]:
        """Iterate over all starts."""
        for base, block in zip(self.bases, self.blocks, strict=True):
            yield from map(base.__add__, block)

    def __eq__(self, other: object) -> bool:
        """Return whether the starts are equal; the blocks need not be."""
        return isinstance(other, LineStarts) and len(self) == len(other) and all(map(int.__eq__, self, other))

    def __hash__(self) -> int:
        """Return a hash that does not depend on the blocks."""
        return hash((self.n_lines, self[-1]))


def _piece_end(data: bytes, at: int) -> int:
    r"""Return the end of the piece of a text that begins at a byte; never between `\r` and `\n`."""
    end = min(len(data), at + PIECE_BYTES)
    return end + 1 if data[end - 1 : end + 1] == b"\r\n" else end
