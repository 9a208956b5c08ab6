"""Where lines, blocks and names are in files that are kept as token ids.

Everything here is looked up in tables over the vocabulary, so that millions of tokens take seconds. It relies on the
pre-tokenizer: a token that holds a line's end holds nothing but white space, so that the indentation of a line is the
end of one token and the beginning of the next ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

Ids = NDArray[np.uint16]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
TAB = 4
"""Columns that a tab counts for."""
FILES_LOOKED_AT = 4000
"""To learn which names are common."""
LEAST_NAME = 4
"""Characters; shorter names are in every file."""
_BASE = 0x9E3779B97F4A7C15  # odd, so that its powers lose no bits
_LONGEST_NAME = 256
_POWERS = np.cumprod(np.r_[np.uint64(1), np.full(_LONGEST_NAME, _BASE, np.uint64)])


class Cut(NamedTuple):
    """A place in the text: `offset` bytes into token number `token` of the corpus."""

    token: int
    offset: int


def bytes_of_characters() -> dict[str, int]:
    """GPT-2's table: each character that stands for a byte in the vocabulary, and the byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


class Vocabulary:
    """What is to be known of each token, in arrays over the ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        byte_of = bytes_of_characters()
        spelled = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        special = set(tokenizer.get_added_tokens_decoder())
        self.pieces = [
            b"" if number in special else bytes(byte_of[character] for character in token) for token, number in spelled
        ]
        pieces = self.pieces
        self.n_bytes = np.array([len(piece) for piece in pieces])
        self.line_end = np.array([piece.find(b"\n") for piece in pieces])
        """Bytes before the first line end, -1 if there is none."""
        self.line_start = np.array([piece.rfind(b"\n") + 1 for piece in pieces])
        """Bytes up to and with the last line end, 0 if there is none."""
        self.is_space = np.array([piece != b"" and not piece.strip(b" \t\n\r\f\v") for piece in pieces])
        self.columns_after = np.array([columns(piece[piece.rfind(b"\n") + 1 :]) for piece in pieces])
        """Columns of white space behind the last line end, or at the beginning if there is none."""
        names = [re.search(rb"\w*$", piece)[0] for piece in pieces]  # type: ignore[index]
        self.is_name = np.array([name != b"" for name in names])
        self.begins_name = np.array([len(name) < len(piece) for name, piece in zip(names, pieces, strict=True)])
        self.is_digit = np.array([name[:1].isdigit() for name in names])
        self.name_bytes = np.array([len(name) for name in names])
        powers = [int(power) for power in _POWERS]
        hashes = [sum(byte * power for byte, power in zip(name, powers, strict=False)) % 2**64 for name in names]
        self.name_hash = np.array(hashes, dtype=np.uint64)

    @lru_cache(maxsize=200_000)  # noqa: B019  one vocabulary lives as long as the process
    def encode(self, data: bytes) -> tuple[int, ...]:
        """Token ids of plain text."""
        return tuple(self.tokenizer.encode(data.decode(), add_special_tokens=False).ids)

    def names(self, ids: Ids) -> tuple[Ints, Hashes]:
        r"""Where the names in `ids` begin, and a hash of each; short names and numbers are left out.

        A name is what matches `\w{4,}`, however it is cut into tokens.
        """
        is_name = self.is_name[ids]
        at = np.flatnonzero(is_name)
        if len(at) == 0:
            return at, np.zeros(0, np.uint64)
        begins = self.begins_name[ids[at]]
        begins[1:] |= np.diff(at) > 1
        begins[0] = True
        starts = np.flatnonzero(begins)
        sizes = self.name_bytes[ids[at]]
        before = np.cumsum(sizes) - sizes
        offsets = np.minimum(before - np.repeat(before[starts], np.diff(np.r_[starts, len(at)])), _LONGEST_NAME - 1)
        hashes = np.add.reduceat(self.name_hash[ids[at]] * _POWERS[offsets], starts)
        wanted = (np.add.reduceat(sizes, starts) >= LEAST_NAME) & ~self.is_digit[ids[at[starts]]]
        return at[starts][wanted], hashes[wanted]


def columns(piece: bytes) -> int:
    """Columns of white space at the beginning of `piece`."""
    blank = piece[: len(piece) - len(piece.lstrip(b" \t\r\f\v"))]
    return len(blank) + (TAB - 1) * blank.count(b"\t")


@dataclass(frozen=True)
class Lines:
    """The lines that are not blank, in the order of the corpus."""

    start_token: Ints
    start_offset: Ints
    end_token: Ints
    end_offset: Ints
    first_solid: Ints
    """The first token that is more than white space."""
    indent: NDArray[np.int16]
    first_of_file: Ints
    """The number of each file's first line, and one more at the end."""

    def start(self, line: int) -> Cut:
        """The place before the line's indentation."""
        return Cut(int(self.start_token[line]), int(self.start_offset[line]))

    def end(self, line: int) -> Cut:
        """The place before the line's end."""
        return Cut(int(self.end_token[line]), int(self.end_offset[line]))

    def block_end(self, line: int, last: int, n_most: int) -> int:
        """The last line of the block that `line` is the first of: no line is less indented.

        At most `n_most` lines, and none behind `last`.
        """
        indents = self.indent[line : min(line + n_most, last + 1)]
        outside = np.flatnonzero(indents < indents[0])
        return line + (int(outside[0]) if len(outside) else len(indents)) - 1


def find_lines(ids: Ids, bounds: Sequence[int], vocabulary: Vocabulary) -> Lines:
    """Find the lines of all files; file number i is `ids[bounds[i] : bounds[i + 1]]`."""
    file_starts = np.array(bounds[:-1], dtype=np.int64)
    breaks = np.flatnonzero(vocabulary.line_end[ids] >= 0)
    # A line begins behind a break or at the beginning of a file, and ends at the next break or at the file's end.
    token = np.r_[breaks, file_starts]
    offset = np.r_[vocabulary.line_start[ids[breaks]], np.zeros(len(file_starts), np.int64)]
    order = np.lexsort((offset > 0, token))
    token, offset = token[order], offset[order]
    padded = np.r_[ids, np.zeros(3, np.uint16)]
    here = padded[token]
    is_break = offset > 0
    following = token + is_break
    spaces = np.where(is_break, vocabulary.columns_after[here], 0)
    inside = np.ones(len(token), bool)
    for _ in range(2):
        these = padded[following]
        inside &= vocabulary.line_end[these] < 0
        spaces += vocabulary.columns_after[these] * inside
        inside &= vocabulary.is_space[these]
        following = following + inside
    bound = np.array(bounds, dtype=np.int64)
    file_of: Ints = np.asarray(np.searchsorted(bound, token, side="right")) - 1
    file_end = bound[file_of + 1]
    next_break = np.searchsorted(breaks, token + is_break)
    end_token = np.append(breaks, len(ids))[next_break]
    end_token = np.minimum(end_token, file_end)
    end_offset = np.where(end_token < file_end, vocabulary.line_end[padded[end_token]], 0)
    full = is_break & (offset == vocabulary.n_bytes[here])
    start_token, start_offset = np.where(full, token + 1, token), np.where(full, 0, offset)
    # Between start and end there is something that is no white space.
    solid: Ints = np.concatenate([[0], np.cumsum(~vocabulary.is_space[ids])])
    kept = solid[end_token] > solid[np.minimum(token + is_break, end_token)]
    first_of_file = np.searchsorted(file_of[kept], np.arange(len(bounds)))
    return Lines(
        start_token[kept],
        start_offset[kept],
        end_token[kept],
        end_offset[kept],
        following[kept],
        spaces[kept].astype(np.int16),
        first_of_file,
    )


def common_names(ids: Ids, bounds: Sequence[int], vocabulary: Vocabulary, share: float) -> Hashes:
    """Hashes of the names that are in more than `share` of the files, and in more than ten, sorted.

    Looks at a few thousand files, evenly spread.
    """
    some = list(pairwise(bounds))[:: max(1, len(bounds) // FILES_LOOKED_AT)]
    found = [np.unique(vocabulary.names(ids[start:end])[1]) for start, end in some]
    hashes, counts = np.unique(np.concatenate(found), return_counts=True)
    return hashes[counts > max(10, share * len(found))]
