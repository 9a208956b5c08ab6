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

import codecs
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NoReturn

from attrs import frozen
from tokenizers import Regex
from tokenizers import Tokenizer as Bpe
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Split
from tokenizers.pre_tokenizers import Sequence as Cuts

from starcoder_lsp.engine.families import ModelFamily
from starcoder_lsp.engine.gguf import Array, DamagedError, read_int32s, read_strings
from starcoder_lsp.engine.tokens import line_cut

# The library reads this at each call. One text at a time is tokenized: threads would cost memory, and a warning after a
# fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

NORMAL: Final = 1
CONTROL: Final = 3
_USER_DEFINED: Final = 4
_UNUSED: Final = 5
_TYPES: Final = range(1, 6)
"""Types of tokens in llama.cpp's numbers; 2 is unknown. At a byte token (6) of such a vocabulary llama.cpp aborts."""
_PLAIN: Final = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_MOVED: Final = [byte for byte in range(256) if byte not in _PLAIN]
_CHARACTERS: Final = "".join(chr(byte if byte in _PLAIN else 256 + _MOVED.index(byte)) for byte in range(256))
"""GPT-2's spelling of the 256 bytes: visible characters stand for themselves, U+0100 and on for the others."""
_BYTES: Final = codecs.charmap_build(_CHARACTERS)
_STAND_IN: Final = b"?"
_NO_TEXT: Final = re.compile("([\udc80-\udcff]+)")
"""Bytes that are no UTF-8, as `surrogateescape` decodes them."""
_ESCAPED: Final = 0xDC00
_MAX_SHOWN: Final = 60


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

    Tokens with the name of one of the family's markers are markers whatever their type, as in llama.cpp: early
    converters called every token normal. Raises `DamagedError` if there is no byte-level BPE vocabulary.
    """
    tokens = _strings(metadata, data, "tokens")
    return build_tokenizer(tokens, _types(metadata, data, len(tokens)), _strings(metadata, data, "merges"), family)


def build_tokenizer(
    tokens: Sequence[bytes], types: list[int], merges: Sequence[bytes], family: ModelFamily
) -> GgufTokenizer:
    """Build the tokenizer of a vocabulary: each token's spelling and type by its id, and the merges, `left right`.

    Raises `DamagedError` as `read_tokenizer` does.
    """
    for token_id in _ids_of(tokens, family.markers.values()):
        types[token_id] = CONTROL
    spelled = {_text(token, "token"): i for i, token in enumerate(tokens) if types[i] == NORMAL}
    if len(spelled) != types.count(NORMAL):
        _damaged("some tokens of its vocabulary are there twice")
    pieces = [token if token_type == _USER_DEFINED else b"" for token, token_type in zip(tokens, types, strict=True)]
    for text, token_id in spelled.items():
        pieces[token_id] = _bytes(text)
    byte_ids = [spelled.get(character) for character in _CHARACTERS]
    stand_in_id = byte_ids[_STAND_IN[0]]
    if stand_in_id is None:
        return _damaged(f"its vocabulary has no token for {_STAND_IN.decode()!r}")
    stand_ins = bytes(_STAND_IN[0] if byte_id is None else byte for byte, byte_id in enumerate(byte_ids))
    return GgufTokenizer(
        pieces=pieces,
        line_cut=line_cut(pieces[token_id] for token_id in spelled.values()),
        bpe=_bpe(spelled, merges, family.split),
        names={i: token for i, token in enumerate(tokens) if not pieces[i]},
        markers={token: i for i, token in enumerate(tokens) if types[i] not in {NORMAL, _UNUSED}},
        byte_ids=[stand_in_id if byte_id is None else byte_id for byte_id in byte_ids],
        stand_ins=stand_ins if None in byte_ids else None,
    )


def _strings(metadata: Mapping[str, object], data: bytes, name: str) -> list[bytes]:
    key = f"tokenizer.ggml.{name}"
    array = metadata.get(key)
    if not isinstance(array, Array) or (strings := read_strings(data, array)) is None:
        return _damaged(f"its {key} is {'missing' if array is None else 'no array of strings'}")
    return strings


def _types(metadata: Mapping[str, object], data: bytes, n_tokens: int) -> list[int]:
    """Return each token's type. A file without types has normal tokens only."""
    key = "tokenizer.ggml.token_type"
    array = metadata.get(key)
    if array is None:
        return [NORMAL] * n_tokens
    if not isinstance(array, Array) or (types := read_int32s(data, array)) is None:
        return _damaged(f"its {key} is no array of signed 32-bit numbers")
    if len(types) != n_tokens:
        _damaged(f"its vocabulary has {n_tokens:,} tokens and {len(types):,} types of tokens")
    if unknown := set(types).difference(_TYPES):
        _damaged(f"a token of its vocabulary is of the unknown type {min(unknown)}")
    return list(types)


def _ids_of(tokens: Sequence[bytes], names: Iterable[str]) -> list[int]:
    wanted = {name.encode() for name in names}
    return [token_id for token_id, token in enumerate(tokens) if token in wanted]


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _damaged(f"the {what} {_shown(data)} of its vocabulary is no UTF-8")


def _bytes(spelling: str) -> bytes:
    """Decode a token's spelling, a character for each byte."""
    try:
        if spelling and "\0" not in spelling:  # the table would take it for a byte
            return codecs.charmap_encode(spelling, "strict", _BYTES)[0]
    except UnicodeEncodeError:
        pass
    return _damaged(f"the token {_shown(spelling)} of its vocabulary spells no bytes")


def _bpe(ids: dict[str, int], merges: Sequence[bytes], split: str) -> Bpe:
    """Build the library's tokenizer. The library does not check its input, so the checks are here."""
    pairs = []
    for merge in dict.fromkeys(merges):  # of two that are the same, llama.cpp takes the first and the library the last
        left, _space, right = _text(merge, "merge").partition(" ")
        if left not in ids or right not in ids or left + right not in ids:
            _damaged(f"the merge {_shown(merge)} of its vocabulary is no pair of tokens that make a third")
        pairs.append((left, right))
    bpe = Bpe(BPE(ids, pairs))
    if split:
        cuts = [Split(Regex(split), behavior="isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    else:
        cuts = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    bpe.pre_tokenizer = Cuts(cuts)
    return bpe


def _shown(text: str | bytes) -> str:
    return ascii(text[:_MAX_SHOWN])


def _damaged(what: str) -> NoReturn:
    raise DamagedError(what)
