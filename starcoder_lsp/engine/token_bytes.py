"""Each token's bytes, from the vocabulary in a GGUF header.

The host needs no more of a vocabulary, and the merges take most of the time of reading one (`engine/tokenizer.py`).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NoReturn

from attrs import frozen

from starcoder_lsp.engine.families import ModelFamily
from starcoder_lsp.engine.gguf import Array, DamagedError, read_int32s, read_strings

NORMAL: Final = 1
CONTROL: Final = 3
UNUSED: Final = 5
_USER_DEFINED: Final = 4
_TYPES: Final = range(1, 6)
"""Types of tokens in llama.cpp's numbers; 2 is unknown. At a byte token (6) of such a vocabulary llama.cpp aborts."""
_PLAIN: Final = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_MOVED: Final = [byte for byte in range(256) if byte not in _PLAIN]
CHARACTERS: Final = "".join(chr(byte if byte in _PLAIN else 256 + _MOVED.index(byte)) for byte in range(256))
"""GPT-2's spelling of the 256 bytes: visible characters stand for themselves, U+0100 and on for the others."""
_BYTES: Final = codecs.charmap_build(CHARACTERS)
_MAX_SHOWN: Final = 60


@frozen(eq=False)
class TokenBytes:
    """The tokens of a vocabulary: by id each one's spelling in the file, its type, and its bytes, empty for a marker.

    `ids` has the id of each normal token by its spelling.
    """

    tokens: Sequence[bytes]
    types: Sequence[int]
    pieces: Sequence[bytes]
    ids: dict[str, int]


def read_token_bytes(metadata: Mapping[str, object], data: bytes, family: ModelFamily) -> TokenBytes:
    """Read the tokens of a GGUF header from its metadata, and from `data`, which the metadata's arrays are in.

    Raises `DamagedError` if there is no byte-level BPE vocabulary.
    """
    tokens = strings_of(metadata, data, "tokens")
    return token_bytes(tokens, _types(metadata, data, len(tokens)), family)


def token_bytes(tokens: Sequence[bytes], types: list[int], family: ModelFamily) -> TokenBytes:
    """Return the bytes of tokens, given each one's spelling and type.

    Tokens with the name of one of the family's markers are markers whatever their type, as in llama.cpp: early
    converters called every token normal. Raises `DamagedError` as `read_token_bytes` does.
    """
    for token_id in _ids_of(tokens, family.markers.values()):
        types[token_id] = CONTROL
    ids = {text_of(token, "token"): i for i, token in enumerate(tokens) if types[i] == NORMAL}
    if len(ids) != types.count(NORMAL):
        damaged("some tokens of its vocabulary are there twice")
    pieces = [token if token_type == _USER_DEFINED else b"" for token, token_type in zip(tokens, types, strict=True)]
    for text, token_id in ids.items():
        pieces[token_id] = _bytes(text)
    return TokenBytes(tokens, types, pieces, ids)


def strings_of(metadata: Mapping[str, object], data: bytes, name: str) -> list[bytes]:
    """Return an array of strings of the vocabulary. Raises `DamagedError` if there is none."""
    key = f"tokenizer.ggml.{name}"
    array = metadata.get(key)
    if not isinstance(array, Array) or (strings := read_strings(data, array)) is None:
        return damaged(f"its {key} is {'missing' if array is None else 'no array of strings'}")
    return strings


def _types(metadata: Mapping[str, object], data: bytes, n_tokens: int) -> list[int]:
    """Return each token's type. A file without types has normal tokens only."""
    key = "tokenizer.ggml.token_type"
    array = metadata.get(key)
    if array is None:
        return [NORMAL] * n_tokens
    if not isinstance(array, Array) or (types := read_int32s(data, array)) is None:
        return damaged(f"its {key} is no array of signed 32-bit numbers")
    if len(types) != n_tokens:
        damaged(f"its vocabulary has {n_tokens:,} tokens and {len(types):,} types of tokens")
    if unknown := set(types).difference(_TYPES):
        damaged(f"a token of its vocabulary is of the unknown type {min(unknown)}")
    return list(types)


def _ids_of(tokens: Sequence[bytes], names: Iterable[str]) -> list[int]:
    wanted = {name.encode() for name in names}
    return [token_id for token_id, token in enumerate(tokens) if token in wanted]


def text_of(data: bytes, what: str) -> str:
    """Decode a spelling. Raises `DamagedError`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return damaged(f"the {what} {shown(data)} of its vocabulary is no UTF-8")


def _bytes(spelling: str) -> bytes:
    """Decode a token's spelling, a character for each byte."""
    try:
        if spelling and "\0" not in spelling:  # the table would take it for a byte
            return codecs.charmap_encode(spelling, "strict", _BYTES)[0]
    except UnicodeEncodeError:
        pass
    return damaged(f"the token {shown(spelling)} of its vocabulary spells no bytes")


def shown(text: str | bytes) -> str:
    """Return the beginning of a text, in ASCII."""
    return ascii(text[:_MAX_SHOWN])


def damaged(what: str) -> NoReturn:
    """Raise `DamagedError`."""
    raise DamagedError(what)
