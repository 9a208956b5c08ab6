"""The header of a model file with StarCoder2's dimensions: shapes, tensors, metadata, and another file's vocabulary.

Dimensions are those of bigcode/starcoder2-{3b,7b,15b}'s `config.json`, names those of llama.cpp's
`src/models/starcoder2.cpp`, the format that of ggml's `docs/gguf.md`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from attrs import frozen

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.gguf import F32, START, Array, Cursor, CutError, DamagedError, TensorEntry

N_VOCAB: Final = 49_152
N_CONTEXT_TRAIN: Final = 16_384

_ALIGNMENT: Final = 32  # bytes
_MAX_HEADER_BYTES: Final = 64 << 20
_I32_TYPE, _STRING_TYPE, _ARRAY_TYPE = 5, 8, 9  # GGUF's numbers of the metadata types


@frozen
class Quantization:
    """The storage of a matrix in blocks of 32 weights: a 16-bit scale, and `n_bytes` of integers."""

    name: str
    tensor_type: int
    """ggml's number of the type."""
    file_type: int
    """llama.cpp's number of a file mostly of this type (`LLAMA_FTYPE_…`)."""
    n_bytes: int
    scale: float
    """Chosen for weights with a standard deviation of 0.018, as at the start of StarCoder2's training."""

    @property
    def block(self) -> np.dtype[np.void]:
        """Return the layout of a block in the file."""
        return np.dtype([("scale", "<f2"), ("weights", "u1", self.n_bytes)])


Q4_0: Final = Quantization("q4_0", 2, 2, n_bytes=16, scale=2.0**-8)
Q8_0: Final = Quantization("q8_0", 8, 7, n_bytes=32, scale=2.0**-12)


@frozen
class Shape:
    """A model's dimensions, and the storage of its matrices.

    A tied model has no output matrix: llama.cpp uses the embeddings.
    """

    n_embd: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    n_ff: int
    rope_base: float
    is_tied: bool = True
    quantization: Quantization = Q4_0

    @property
    def n_kv_embd(self) -> int:
        """Return the elements of a token's keys, or values, in one layer."""
        return self.n_embd // self.n_heads * self.n_kv_heads

    @property
    def n_kv_bytes(self) -> int:
        """Return the bytes of one token's keys and values in all layers, in 16-bit floats."""
        return 2 * 2 * self.n_kv_embd * self.n_layers


SHAPES: Final = {
    "3b": Shape(3072, 30, 24, 2, 12_288, 999_999.4420358813),
    "7b": Shape(4608, 32, 36, 4, 18_432, 1e6),
    "15b": Shape(6144, 40, 48, 4, 24_576, 1e5, is_tied=False),
    "small": Shape(1152, 3, 9, 1, 4608, 1e6),  # heads of 128, nine for each KV head, as in 7b
}


def tensors_of(shape: Shape) -> Iterator[TensorEntry]:
    """Yield the tensors in the file's order: matrices quantized, vectors in 32-bit floats."""
    start_byte = 0
    for name, dimensions in _names_and_dimensions(shape):
        tensor_type = F32 if len(dimensions) == 1 else shape.quantization.tensor_type
        tensor = TensorEntry(name.encode(), dimensions, tensor_type, start_byte)
        yield tensor
        start_byte += padded(tensor.n_bytes)


def model_header(size: str, shape: Shape, vocabulary: dict[bytes, bytes]) -> bytes:
    """Return the bytes before the weights. `vocabulary` is as `read_vocabulary` returns it."""
    metadata: dict[str, str | int | float] = {
        "general.architecture": "starcoder2",
        "general.name": f"StarCoder2 {size} with random weights",
        "general.file_type": shape.quantization.file_type,
        "general.quantization_version": 2,
        "starcoder2.context_length": N_CONTEXT_TRAIN,
        "starcoder2.embedding_length": shape.n_embd,
        "starcoder2.block_count": shape.n_layers,
        "starcoder2.feed_forward_length": shape.n_ff,
        "starcoder2.attention.head_count": shape.n_heads,
        "starcoder2.attention.head_count_kv": shape.n_kv_heads,
        "starcoder2.attention.layer_norm_epsilon": 1e-5,
        "starcoder2.rope.dimension_count": shape.n_embd // shape.n_heads,
        "starcoder2.rope.freq_base": shape.rope_base,
    }
    tensors = list(tensors_of(shape))
    header = START.pack(b"GGUF", 3, len(tensors), len(metadata) + len(vocabulary))
    header += b"".join(_string(name) + _value(content) for name, content in metadata.items())
    header += b"".join(_string(name) + content for name, content in vocabulary.items())
    for tensor in tensors:
        n_dimensions = len(tensor.shape)
        header += _string(tensor.name) + struct.pack(f"<I{n_dimensions}Q", n_dimensions, *tensor.shape)
        header += struct.pack("<IQ", tensor.tensor_type, tensor.start_byte)
    return header.ljust(padded(len(header)), b"\0")


def read_vocabulary(path: Path) -> dict[bytes, bytes]:
    """Return the `tokenizer.*` keys of a GGUF file and their encoded values, with exactly `N_VOCAB` tokens.

    Raises `EngineError`.
    """
    try:
        if not path.is_file():
            message = f"{path}: not a file"
            raise EngineError(message)
        with path.open("rb") as file:
            return _filled_up(_tokenizer_keys(Cursor(file.read(_MAX_HEADER_BYTES))))
    except OSError as error:
        what = error.strerror or str(error)
    except CutError:
        what = "not a GGUF file, or cut off"
    except DamagedError as error:
        what = str(error)
    message = f"{path}: {what}"
    raise EngineError(message)


def _tokenizer_keys(cursor: Cursor) -> dict[bytes, bytes]:
    """Return names and values, the values as bytes that start with their type."""
    magic, _version, _n_tensors, n_keys = cursor.unpack(START)
    if magic != b"GGUF":
        raise CutError
    keys = {}
    for _ in range(n_keys):
        name, value_byte = cursor.string(), cursor.byte
        value = cursor.value(distinct=name == b"tokenizer.ggml.tokens")
        if isinstance(value, Array) and value.n_distinct not in {None, value.n}:
            what = "some of its tokens are there twice"
            raise DamagedError(what)
        if name.startswith(b"tokenizer.") and name != b"tokenizer.ggml.scores":  # byte-level BPE has no scores
            keys[name] = cursor.data[value_byte : cursor.byte]
    return keys


def _filled_up(keys: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Add placeholder tokens up to `N_VOCAB`. Raises `DamagedError` for a vocabulary that llama.cpp would refuse."""
    tokens, types, merges = (keys.get(b"tokenizer.ggml." + name, b"") for name in (b"tokens", b"token_type", b"merges"))
    of_strings, of_numbers = (struct.pack("<II", _ARRAY_TYPE, element) for element in (_STRING_TYPE, _I32_TYPE))
    if (
        keys.get(b"tokenizer.ggml.model") != _value("gpt2")
        or not (tokens.startswith(of_strings) and merges.startswith(of_strings))
        or not types.startswith(of_numbers)
    ):
        what = "has no byte-level BPE vocabulary"
        raise DamagedError(what)
    (n_tokens,), (n_types,) = (struct.unpack_from("<Q", value, 8) for value in (tokens, types))
    if n_tokens != n_types or n_tokens > N_VOCAB:
        what = f"has {n_tokens:,} tokens and {n_types:,} types of tokens, and not at most {N_VOCAB:,} of each"
        raise DamagedError(what)
    added = b"".join(_string(f"<placeholder_{token_id}>") for token_id in range(n_tokens, N_VOCAB))
    n_added = N_VOCAB - n_tokens
    return keys | {
        b"tokenizer.ggml.tokens": of_strings + struct.pack("<Q", N_VOCAB) + tokens[16:] + added,
        b"tokenizer.ggml.token_type": of_numbers
        + struct.pack("<Q", N_VOCAB)
        + types[16:]
        + struct.pack("<i", 1) * n_added,
    }


def _names_and_dimensions(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield each tensor's name and dimensions, the length of a row first."""
    n_embd = shape.n_embd
    yield "token_embd.weight", (n_embd, N_VOCAB)
    yield from _norm("output_norm", n_embd)
    if not shape.is_tied:
        yield "output.weight", (n_embd, N_VOCAB)
    linear = {
        "attn_q": (n_embd, n_embd),
        "attn_k": (n_embd, shape.n_kv_embd),
        "attn_v": (n_embd, shape.n_kv_embd),
        "attn_output": (n_embd, n_embd),
        "ffn_up": (n_embd, shape.n_ff),
        "ffn_down": (shape.n_ff, n_embd),
    }
    for block in (f"blk.{number}" for number in range(shape.n_layers)):
        yield from _norm(f"{block}.attn_norm", n_embd)
        yield from _norm(f"{block}.ffn_norm", n_embd)
        for name, (n_in, n_out) in linear.items():
            yield f"{block}.{name}.weight", (n_in, n_out)
            yield f"{block}.{name}.bias", (n_out,)


def _norm(name: str, n_embd: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (n_embd,)
    yield f"{name}.bias", (n_embd,)


def padded(n_bytes: int) -> int:
    """Return `n_bytes` rounded up to the file's alignment."""
    return n_bytes + -n_bytes % _ALIGNMENT


def _string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def _value(content: str | float) -> bytes:
    """Encode a metadata value after its type; integers as u32."""
    match content:
        case str():
            return struct.pack("<I", _STRING_TYPE) + _string(content)
        case int():
            return struct.pack("<II", 4, content)
        case float():
            return struct.pack("<If", 6, content)
