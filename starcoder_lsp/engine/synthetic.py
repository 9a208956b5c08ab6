"""Write a model file with StarCoder2's dimensions and random weights, to measure a machine without a download.

llama.cpp does the same work whatever the weights, so speed and memory are those of the real model; the text is noise.
The file is written in pieces of one block of random numbers: the 15B shape has 9 GB.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.synthetic_header import Shape, model_header, padded, read_vocabulary, tensors_of

_N_RANDOM_BLOCKS: Final = 1 << 20
"""Random blocks, 18 MiB in Q4_0, from which pieces are taken at random places. Not measured."""
_N_WRITERS: Final = 4
"""Threads. Not measured."""

Progress = Callable[[float], None]
"""Called with the share of the file that is written, 0 to 1."""


def synthetic_model(size: str, shape: Shape, vocabulary: Path, folder: Path, on_progress: Progress) -> Path:
    """Write a model of a shape with the vocabulary of another GGUF file into `folder`, and return its path.

    An existing complete file is reused. A vocabulary of fewer tokens is filled up to `N_VOCAB`. Raises
    `EngineError` for a file without a usable vocabulary, or a folder without room.
    """
    keys = read_vocabulary(vocabulary)
    header = model_header(size, shape, keys)
    n_bytes = len(header) + sum(padded(tensor.n_bytes) for tensor in tensors_of(shape))
    digest = hashlib.sha256(b"".join(name + value for name, value in keys.items())).hexdigest()[:12]
    path = folder / f"starcoder2-{size}-{digest}.gguf"
    part = path.with_suffix(".part")
    try:
        if _is_whole(path, header, n_bytes):
            return path
        folder.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        n_free_bytes = shutil.disk_usage(folder).free
        if n_free_bytes < n_bytes:
            message = (
                f"{folder}: {n_bytes / 2**30:.2f} GiB are needed there, and {n_free_bytes / 2**30:.2f} GiB are free"
            )
            raise EngineError(message)
        try:
            _write(part, header, shape, lambda n_written: on_progress(n_written / n_bytes))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise EngineError(message) from error
    return path


def _is_whole(path: Path, header: bytes, n_bytes: int) -> bool:
    """Return whether the file is complete: it has the length and the header that would be written."""
    if not path.is_file() or path.stat().st_size != n_bytes:
        return False
    with path.open("rb") as file:
        return file.read(len(header)) == header


def _write(path: Path, header: bytes, shape: Shape, on_written: Callable[[int], None]) -> None:
    """Write the vectors, then the matrices by several threads: one writes at most 1 GB/s."""
    rng = np.random.default_rng(0)
    quantization = shape.quantization
    blocks = np.empty(_N_RANDOM_BLOCKS, quantization.block)
    blocks["scale"] = quantization.scale
    blocks["weights"] = rng.integers(256, size=(_N_RANDOM_BLOCKS, quantization.n_bytes), dtype=np.uint8)
    noise = memoryview(blocks.tobytes())
    pieces: list[tuple[int, memoryview]] = []
    n_written = len(header)
    with path.open("wb") as file:
        file.write(header)
        for tensor in tensors_of(shape):
            start_byte = len(header) + tensor.start_byte
            if tensor.tensor_type == quantization.tensor_type:
                pieces += _pieces(start_byte, tensor.n_bytes, noise, rng)
            else:
                value = 1 if tensor.name.endswith(b".weight") else 0
                file.seek(start_byte)
                n_written += file.write(np.full(tensor.shape, value, "<f4").tobytes())
            n_written += padded(tensor.n_bytes) - tensor.n_bytes
            file.truncate(start_byte + padded(tensor.n_bytes))

    def write_piece(piece: tuple[int, memoryview]) -> int:
        with path.open("r+b") as part:
            part.seek(piece[0])
            return part.write(piece[1])

    pool = ThreadPoolExecutor(_N_WRITERS)
    try:
        for n_bytes in pool.map(write_piece, pieces):
            n_written += n_bytes
            on_written(n_written)
    finally:
        pool.shutdown(cancel_futures=True)
    with path.open("r+b") as whole:
        os.fsync(whole.fileno())  # or the system would write during the measurement


def _pieces(
    start_byte: int, n_bytes: int, noise: memoryview, rng: np.random.Generator
) -> Iterator[tuple[int, memoryview]]:
    """Yield `(start_byte, noise)` of each piece of a matrix of `n_bytes`."""
    n_places, n_block_bytes = _N_RANDOM_BLOCKS // 2, len(noise) // _N_RANDOM_BLOCKS
    max_bytes = n_places * n_block_bytes
    for first in range(0, n_bytes, max_bytes):
        start = int(rng.integers(n_places)) * n_block_bytes
        yield start_byte + first, noise[start : start + min(max_bytes, n_bytes - first)]
