"""Tiny GGUF files for tests, valid or broken in one chosen place.

Written with `struct` from ggml's `docs/gguf.md`, on purpose not with the reader's own tables or the `gguf` package, so
that a misreading of the format does not agree with itself.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

F32 = 0
Q4_0 = 2


@frozen
class Raw:
    """A metadata value written as it is: its type number and its bytes."""

    value_type: int
    data: bytes


@frozen
class Tensor:
    """A tensor's header entry. `shape` is in ggml's order: the row length first. `offset` overrides its place."""

    name: str
    shape: Sequence[int]
    tensor_type: int = F32
    offset: int | None = None

    @property
    def n_bytes(self) -> int:
        """Size of the data, for the two types that are used here."""
        return prod(self.shape) * 4 if self.tensor_type == F32 else prod(self.shape) // 32 * 18


def string(text: str | bytes) -> bytes:
    """A GGUF string: its length in bytes as a u64, then the bytes."""
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def value(content: object) -> bytes:  # noqa: PLR0911 - one return for each type
    """A metadata value with its type before it: whole numbers as u32, arrays of strings or of i32."""
    match content:
        case Raw(value_type=value_type, data=data):
            return struct.pack("<I", value_type) + data
        case bool():
            return struct.pack("<I?", 7, content)
        case int():
            return struct.pack("<II", 4, content)
        case float():
            return struct.pack("<If", 6, content)
        case str() | bytes():
            return struct.pack("<I", 8) + string(content)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(content)) + b"".join(string(str(text)) for text in content)
        case [*numbers]:
            return struct.pack("<IIQ", 9, 5, len(numbers)) + struct.pack(f"<{len(numbers)}i", *numbers)
        case _:
            message = f"no GGUF value for {content!r}"
            raise TypeError(message)


def gguf(
    metadata: Mapping[str, object],
    tensors: Sequence[Tensor],
    *,
    version: int = 3,
    n_keys: int | None = None,
    n_tensors: int | None = None,
    order: str = "<",
    data: bytes | None = None,
) -> bytes:
    """A whole file. `n_keys` and `n_tensors` lie about the counts, `order` is the byte order of the first 24 bytes.

    The data of a tensor is zeros, or together with all others' `data`.
    """
    keys = b"".join(string(key) + value(content) for key, content in metadata.items())
    header = struct.pack(
        f"{order}4sIQQ",
        b"GGUF",
        version,
        len(tensors) if n_tensors is None else n_tensors,
        len(metadata) if n_keys is None else n_keys,
    )
    entries, n_data_bytes = b"", 0
    for tensor in tensors:
        place = n_data_bytes if tensor.offset is None else tensor.offset
        shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        entries += string(tensor.name) + shape + struct.pack("<IQ", tensor.tensor_type, place)
        n_data_bytes += tensor.n_bytes + -tensor.n_bytes % 32
    start = header + keys + entries
    return start + bytes(-len(start) % 32) + (bytes(n_data_bytes) if data is None else data)


MARKERS = (
    "<|endoftext|>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
    "<repo_name>",
    "<file_sep>",
)
"""The special tokens of StarCoder2, in the order of its vocabulary."""


def starcoder2_metadata(n_embd: int = 8, n_vocab: int = 7, **changes: object) -> dict[str, object]:
    """The metadata of a one-layer StarCoder2; `changes` sets keys, `__` for the dot, and `None` removes one.

    The first 256 tokens after the 7 markers would be the bytes of byte-level BPE; the default has the markers only.
    """
    tokens = [*MARKERS, *byte_tokens()][:n_vocab]
    metadata: dict[str, object] = {
        "general.architecture": "starcoder2",
        "general.name": "tiny",
        "starcoder2.context_length": 64,
        "starcoder2.embedding_length": n_embd,
        "starcoder2.block_count": 1,
        "starcoder2.feed_forward_length": 2 * n_embd,
        "starcoder2.attention.head_count": 2,
        "starcoder2.attention.head_count_kv": 1,
        "starcoder2.attention.layer_norm_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "starcoder",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * 7 + [1] * (len(tokens) - 7),
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": 0,
    }
    metadata |= {key.replace("__", "."): content for key, content in changes.items()}
    return {key: content for key, content in metadata.items() if content is not None}


def starcoder2_tensors(n_embd: int = 8, n_vocab: int = 7) -> list[Tensor]:
    """The tensors that llama.cpp wants for `starcoder2_metadata`."""
    n_ff, n_kv = 2 * n_embd, n_embd // 2
    square, biased = (n_embd, n_embd), ("weight", "bias")
    layer: dict[str, tuple[int, ...]] = {
        f"{norm}.{part}": (n_embd,) for norm in ("attn_norm", "ffn_norm") for part in biased
    }
    layer |= {"attn_q.weight": square, "attn_k.weight": (n_embd, n_kv), "attn_v.weight": (n_embd, n_kv)}
    layer |= {"attn_output.weight": square, "attn_output.bias": (n_embd,)}
    layer |= {"ffn_up.weight": (n_embd, n_ff), "ffn_up.bias": (n_ff,)}
    layer |= {"ffn_down.weight": (n_ff, n_embd), "ffn_down.bias": (n_embd,)}
    outer: dict[str, tuple[int, ...]] = {"token_embd.weight": (n_embd, n_vocab)}
    outer |= {f"output_norm.{part}": (n_embd,) for part in biased}
    return [
        *(Tensor(name, shape) for name, shape in outer.items()),
        *(Tensor(f"blk.0.{name}", shape) for name, shape in layer.items()),
    ]


def byte_tokens() -> list[str]:
    """GPT-2's spelling of the 256 bytes: printable ones as themselves, the rest from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(moved)) for byte in range(256)]
