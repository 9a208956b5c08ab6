"""A model's tokenizer from the header of a GGUF file, with llama.cpp's ids and without llama.cpp.

Text is split into parts, and byte-level BPE merges inside these: for StarCoder into digits, words, runs of other
characters and white space. `tokenizer.ggml.pre` is ignored: a family was trained with one split, and old files lack the
key.

The ids differ from llama.cpp's in two cases. Bytes that are no UTF-8 keep their values, where llama.cpp reads U+FFFD. A
byte without a token becomes `?`, where llama.cpp leaves it out. StarCoder2's vocabulary lacks 14 bytes: 13 occur in no
UTF-8, and 0xF1 begins the characters U+40000 to U+7FFFF, which Unicode has not assigned. User-defined tokens, which no
StarCoder has, are not looked for in text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from attrs import frozen
from tokenizers import Regex
from tokenizers import Tokenizer as Bpe
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Split
from tokenizers.pre_tokenizers import Sequence as Cuts

from starcoder_lsp.engine.families import ModelFamily
from starcoder_lsp.engine.token_bytes import (
    CHARACTERS,
    NORMAL,
    UNUSED,
    TokenBytes,
    damaged,
    read_token_bytes,
    shown,
    strings_of,
    text_of,
    token_bytes,
)
from starcoder_lsp.engine.tokens import line_cut

# The library reads this at each call. One text at a time is tokenized: threads would cost memory, and a warning after a
# fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_STAND_IN: Final = b"?"
_NO_TEXT: Final = re.compile("([\udc80-\udcff]+)")
"""Bytes that are no UTF-8, as `surrogateescape` decodes them."""
_ESCAPED: Final = 0xDC00


@frozen(eq=False)
class GgufTokenizer:
    """A `Tokenizer` made from a vocabulary alone.

    `pieces` has each token's bytes by its id, empty for a marker. The joined pieces of a text are as long as the text,
    and equal to it but for bytes without a token.
    """

    pieces: Sequence[bytes]
    line_cut: re.Pattern[bytes] | None
    _bpe: Bpe
    _names: Mapping[int, bytes]
    _markers: Mapping[bytes, int]
    _byte_ids: Sequence[int]
    _stand_ins: bytes | None

    def encode(self, text: bytes) -> tuple[int, ...]:
        """Return the token ids of `text`; a marker spelled in it is plain text. Other threads run meanwhile."""
        if not text:
            return ()
        text = text.translate(self._stand_ins)
        try:
            decoded = text.decode()
        except UnicodeDecodeError:
            return tuple(self._encode_bytes(text))
        return tuple(self._encode_texts([decoded])[0])

    def _encode_bytes(self, text: bytes) -> list[int]:
        """Return the token ids of a text with bytes that are no UTF-8, such as half a character: one for each."""
        parts = _NO_TEXT.split(text.decode(errors="surrogateescape"))
        rows = self._encode_texts(parts[::2])
        ids = rows[0]
        for escaped, row in zip(parts[1::2], rows[1:], strict=True):
            ids += [self._byte_ids[ord(character) - _ESCAPED] for character in escaped]
            ids += row
        return ids

    def _encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        # Not `encode`: it takes 1.7 times as long, and holds the interpreter's lock.
        return [row.ids for row in self._bpe.encode_batch_fast(texts, add_special_tokens=False)]

    def piece(self, token_id: int) -> bytes:
        """Return the bytes that `token_id` stands for; empty for a marker."""
        return self.pieces[token_id]

    @property
    def marker_names(self) -> Collection[bytes]:
        """The spellings of all special tokens, whatever a model uses them for."""
        return self._markers.keys()

    def marker(self, text: str) -> int | None:
        """Return the id of the special token spelled `text`, or `None`."""
        return self._markers.get(text.encode(errors="replace"))

    def spelling(self, token_id: int) -> bytes:
        """Return a token's bytes, or a marker's name."""
        return self.pieces[token_id] or self._names[token_id]


def read_tokenizer(metadata: Mapping[str, object], data: bytes, family: ModelFamily) -> GgufTokenizer:
    """Build the tokenizer from the metadata of a GGUF header, and from `data`, which the metadata's arrays are in.

    Raises `DamagedError` if there is no byte-level BPE vocabulary.
    """
    vocabulary = read_token_bytes(metadata, data, family)
    return _tokenizer(vocabulary, strings_of(metadata, data, "merges"), family)


def build_tokenizer(
    tokens: Sequence[bytes], types: list[int], merges: Sequence[bytes], family: ModelFamily
) -> GgufTokenizer:
    """Build the tokenizer of a vocabulary: each token's spelling and type by its id, and the merges, `left right`.

    Raises `DamagedError` as `read_tokenizer` does.
    """
    return _tokenizer(token_bytes(tokens, types, family), merges, family)


def _tokenizer(vocabulary: TokenBytes, merges: Sequence[bytes], family: ModelFamily) -> GgufTokenizer:
    ids, types, pieces = vocabulary.ids, vocabulary.types, vocabulary.pieces
    byte_ids = [ids.get(character) for character in CHARACTERS]
    stand_in_id = byte_ids[_STAND_IN[0]]
    if stand_in_id is None:
        return damaged(f"its vocabulary has no token for {_STAND_IN.decode()!r}")
    stand_ins = bytes(_STAND_IN[0] if byte_id is None else byte for byte, byte_id in enumerate(byte_ids))
    return GgufTokenizer(
        pieces=pieces,
        line_cut=line_cut(pieces[token_id] for token_id in ids.values()),
        bpe=_bpe(ids, merges, family.split),
        names={i: token for i, token in enumerate(vocabulary.tokens) if not pieces[i]},
        markers={token: i for i, token in enumerate(vocabulary.tokens) if types[i] not in {NORMAL, UNUSED}},
        byte_ids=[stand_in_id if byte_id is None else byte_id for byte_id in byte_ids],
        stand_ins=stand_ins if None in byte_ids else None,
    )


def _bpe(ids: dict[str, int], merges: Sequence[bytes], split: str) -> Bpe:
    """Build the library's tokenizer. The library does not check its input, so the checks are here."""
    pairs = []
    for merge in dict.fromkeys(merges):  # of two that are the same, llama.cpp takes the first and the library the last
        left, _space, right = text_of(merge, "merge").partition(" ")
        if left not in ids or right not in ids or left + right not in ids:
            damaged(f"the merge {shown(merge)} of its vocabulary is no pair of tokens that make a third")
        pairs.append((left, right))
    bpe = Bpe(BPE(ids, pairs))
    if split:
        cuts = [Split(Regex(split), behavior="isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    else:
        cuts = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    bpe.pre_tokenizer = Cuts(cuts)
    return bpe
