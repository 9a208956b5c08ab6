"""Read the bytes of a GGUF header: strings, values, arrays and tensor entries. None of them is trusted.

The format is ggml's `docs/gguf.md`, little-endian, the same in versions 2 and 3. Nothing is allocated from a count that
the file claims, so a lying header costs no more memory than it has bytes. `model_checks.py` checks whether a header is
that of a usable model.

Why not the `gguf` package: it makes numpy views of every string, and takes 2.8 to 3.2 s of CPU time for StarCoder2's
vocabulary (49,152 tokens, 48,872 merges). This takes 0.03 s on the same busy machine, two thirds of it to compare
tokens.
"""

from __future__ import annotations

import struct
from math import prod
from typing import Any, Final

from attrs import define, frozen

F32: Final = 0
"""ggml's number of 32-bit floats."""

BLOCKS: Final = {
    tensor_type: (n_block_elements, n_block_bytes)
    for n_block_elements, types in (
        (1, {F32: 4, 1: 2, 30: 2}),  # F32 F16 BF16
        (32, {2: 18, 3: 20, 6: 22, 7: 24, 8: 34, 20: 18, 39: 17}),  # Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL MXFP4
        (64, {40: 36, 42: 18}),  # NVFP4 Q2_0
        (128, {41: 18}),  # Q1_0
        (256, {10: 84, 11: 110, 12: 144, 13: 176, 14: 210}),  # Q2_K Q3_K Q4_K Q5_K Q6_K
        (256, {16: 66, 17: 74, 18: 98, 19: 50, 21: 110, 22: 82, 23: 136, 29: 56}),  # the other IQ types
        (256, {34: 54, 35: 66}),  # TQ1_0 TQ2_0
    )
    for tensor_type, n_block_bytes in types.items()
}
"""Elements and bytes of a block, by ggml's number of the tensor type, as of llama.cpp's `ggml.h` with 43 types.

ggml's types for activations (Q8_1, Q8_K), indices (I8 to I64) and F64 are left out: no kernel takes them for weights.
"""

START: Final = struct.Struct("<4sIQQ")
"""Magic, version, number of tensors, number of metadata keys."""

_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_INT32: Final = 5
_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {
    number: struct.Struct("<" + form)
    for number, form in zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True)
}
_MAX_VALUE_BYTES: Final = 1 << 10  # kept of a string; a chat template is longer
_MAX_STRINGS: Final = 1 << 21  # in one array; the largest vocabulary in use has 262,144 tokens and 514,906 merges
_MAX_DIMENSIONS: Final = 4  # GGML_MAX_DIMS


class CutError(Exception):
    """The header continues past the end of the bytes."""


class DamagedError(Exception):
    """The bytes are no valid GGUF header. The error's text is the end of a sentence about the fault."""


@frozen
class Array:
    """An array in the metadata: counts, and where its elements begin. `read_strings` and `read_int32s` read those.

    `n_distinct` is the number of different strings among its `n` elements, if they were counted. As in C, a string ends
    at its first NUL.
    """

    n: int
    element_type: int
    start_byte: int
    n_distinct: int | None = None


@frozen
class TensorEntry:
    """A tensor's entry. `shape` begins with a row's length; `start_byte` counts from the start of the data section."""

    name: bytes
    shape: tuple[int, ...]
    tensor_type: int
    start_byte: int

    @property
    def n_elements(self) -> int:
        """Elements of all rows."""
        return prod(self.shape)

    @property
    def n_row_elements(self) -> int:
        """Elements of one row."""
        return prod(self.shape[:1])

    @property
    def n_bytes(self) -> int:
        """Bytes of data, without padding. `tensor_type` must be in `BLOCKS`."""
        n_block_elements, n_block_bytes = BLOCKS[self.tensor_type]
        return self.n_elements // n_block_elements * n_block_bytes


@define
class Cursor:
    """A place in a header. Each method reads the value there and moves to its end, or raises `CutError`."""

    data: bytes
    byte: int = 0

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        """Read the numbers of `form`."""
        try:
            values = form.unpack_from(self.data, self.byte)
        except struct.error:
            raise CutError from None
        self.byte += form.size
        return values

    def string(self) -> bytes:
        """Read a string: its length, then as many bytes."""
        (n_bytes,) = self.unpack(_U64)
        self._go_to(self.byte + n_bytes)
        return self.data[self.byte - n_bytes : self.byte]

    def value(self, *, distinct: bool = False) -> object:
        """Read a metadata value with its type: a number, the first 1,024 bytes of a string, or an `Array`.

        `distinct` compares the strings of an array. Raises `DamagedError` for a type that llama.cpp does not
        read, an array of arrays among them.
        """
        (value_type,) = self.unpack(_U32)
        if value_type == _STRING:
            return self.string()[:_MAX_VALUE_BYTES].decode(errors="replace")
        if value_type in _SCALARS:
            return self.unpack(_SCALARS[value_type])[0]
        if value_type != _ARRAY:
            return _unknown(value_type)
        (element_type,), (n,) = self.unpack(_U32), self.unpack(_U64)
        start_byte, n_distinct = self.byte, None
        if element_type in _SCALARS:
            self._go_to(self.byte + n * _SCALARS[element_type].size)
        elif element_type != _STRING or n > _MAX_STRINGS:
            return _unknown(element_type)
        elif distinct:
            n_distinct = self._count_distinct(n)
        else:
            self._skip_strings(n)
        return Array(n, element_type, start_byte, n_distinct)

    def tensor(self) -> TensorEntry:
        """Read a tensor's entry. Raises `DamagedError` for more than four dimensions."""
        name = self.string()
        (n_dimensions,) = self.unpack(_U32)
        if n_dimensions > _MAX_DIMENSIONS:
            what = f"a tensor has {n_dimensions} dimensions"
            raise DamagedError(what)
        shape = tuple(self.unpack(_U64)[0] for _ in range(n_dimensions))
        (tensor_type,), (start_byte,) = self.unpack(_U32), self.unpack(_U64)
        return TensorEntry(name, shape, tensor_type, start_byte)

    def _go_to(self, byte: int) -> None:
        if byte > len(self.data):
            raise CutError
        self.byte = byte

    def _skip_strings(self, n: int) -> None:
        """Skip `n` strings at 95 ns each, where `string()` takes 600."""
        data, byte, unpack_from = self.data, self.byte, _U64.unpack_from
        try:
            for _ in range(n):
                byte += 8 + unpack_from(data, byte)[0]
        except (struct.error, OverflowError):  # OverflowError: past 2**63
            raise CutError from None
        self._go_to(byte)

    def _count_distinct(self, n: int) -> int:
        """Skip `n` strings and count the different ones: 300 ns each, most of it for the set."""
        data, byte, unpack_from = self.data, self.byte, _U64.unpack_from
        texts: set[bytes] = set()
        try:
            for _ in range(n):
                end_byte = byte + 8 + unpack_from(data, byte)[0]
                texts.add(data[byte + 8 : end_byte])
                byte = end_byte
        except (struct.error, OverflowError):
            raise CutError from None
        self._go_to(byte)
        if b"\0" in b"".join(texts):
            texts = {text.partition(b"\0")[0] for text in texts}
        return len(texts)


def read_strings(data: bytes, array: Array) -> list[bytes] | None:
    """Read the elements of an array that was found in `data`; `None` if they are no strings."""
    if array.element_type != _STRING:
        return None
    texts, byte, unpack_from = [], array.start_byte, _U64.unpack_from
    for _ in range(array.n):
        end_byte = byte + 8 + unpack_from(data, byte)[0]
        texts.append(data[byte + 8 : end_byte])
        byte = end_byte
    return texts


def read_int32s(data: bytes, array: Array) -> tuple[int, ...] | None:
    """Read the elements of an array that was found in `data`; `None` if they are no signed 32-bit numbers."""
    return struct.unpack_from(f"<{array.n}i", data, array.start_byte) if array.element_type == _INT32 else None


def _unknown(value_type: int) -> object:
    what = f"a metadata value is of the unknown type {value_type} or too long"
    raise DamagedError(what)
