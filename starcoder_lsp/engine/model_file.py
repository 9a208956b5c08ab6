"""Read the header of a GGUF model file, and refuse in one line a file that would end the process.

Only the header is read, never the weights. The rules about its content are in `model_checks.py`.
"""

from __future__ import annotations

import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from attrs import evolve, frozen

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.gguf import START, Cursor, CutError, DamagedError
from starcoder_lsp.engine.model_checks import (
    CHOOSE_ANOTHER,
    DOWNLOAD_AGAIN,
    Dimensions,
    RefusedError,
    check_architecture,
    check_start,
    check_tensors,
    check_type,
    damaged,
    read_dimensions,
    refuse,
    shown,
)
from starcoder_lsp.engine.model_path import check_path
from starcoder_lsp.engine.split import check_first, check_part, later_parts, n_parts_of
from starcoder_lsp.printable import printable
from starcoder_lsp.regular_files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# A header is read in one piece. 4 MiB holds StarCoder2's (1.7 MB); 64 MiB is four times the largest vocabulary in use.
_READ_BYTES: Final = (4 << 20, 64 << 20)
_MAX_ENTRIES: Final = 1 << 16  # metadata keys, and tensors; StarCoder2 15B has about 30 and 650
_CPU_ALIGNMENT: Final = 32  # bytes; ggml's CPU buffers assert it


class ModelFileError(EngineError):
    """A file cannot be used as a model. `str()` is one printable line with the reason and the advice.

    `reason` and `advice` are sentences without a full stop, made `printable` since they may quote the file.
    """

    def __init__(self, reason: str, advice: str) -> None:
        """Keep both, printable."""
        self.reason = printable(reason)
        self.advice = printable(advice)
        super().__init__(f"{self.reason}. {self.advice}.")


@frozen
class ModelFile:
    """The facts in the header of a usable model file.

    `path` is without `~`, `name` the model's own name or else the file's, `n_parameters` the number of elements of all
    tensors, `n_context_train` a number of tokens, `n_bytes` the size of the file. `n_kv_heads` heads of `n_head_embd`
    numbers hold the keys of a layer, and as many the values.
    """

    path: Path
    architecture: str
    name: str
    n_parameters: int
    n_context_train: int
    n_layers: int
    n_embd: int
    n_bytes: int
    n_kv_heads: int
    n_head_embd: int

    @property
    def n_kv_bytes(self) -> int:
        """Keys and values of one token, in 16-bit floats."""
        return 2 * 2 * self.n_layers * self.n_kv_heads * self.n_head_embd


@frozen
class ModelHeader:
    """A usable model file with its metadata. Arrays are read from `data`, the header's bytes."""

    file: ModelFile
    metadata: Mapping[str, object]
    data: bytes


def check_model_file(path: Path) -> ModelFile:
    """Check the GGUF file at `path`, where a leading `~` is the home folder, by its header.

    Raises `ModelFileError` whatever is wrong there. Takes 20 to 30 ms of CPU time for 49,152 tokens, and reads at most
    64 MiB.
    """
    return read_model_header(path).file


def read_model_header(path: Path) -> ModelHeader:
    """Check a file as `check_model_file` does, and return its whole header."""
    with raising_model_file_errors(path):
        path = path.expanduser()
    with raising_model_file_errors(path):  # which is expanded now
        check_path(path)
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            refuse("is a device or a pipe, not a file", CHOOSE_ANOTHER)
        with open_regular(path) as file:
            header = _read_header(file, status.st_size)
        check_first(path, header.metadata)
        _check_end(header, status.st_size)
        dimensions = read_dimensions(header.metadata)
    parts = [_read_part(part, number, header) for number, part in enumerate(later_parts(path, header.metadata), 1)]
    n_parameters = header.n_parameters + sum(part.n_parameters for part in parts)
    n_bytes = status.st_size + sum(part.n_bytes for part in parts)
    return ModelHeader(_model_file(header, dimensions, path, n_parameters, n_bytes), header.metadata, header.data)


@contextmanager
def raising_model_file_errors(path: Path) -> Iterator[None]:
    """Turn every error about the file at `path` into a `ModelFileError` that names it."""
    try:
        yield
    except RefusedError as refused:
        reason, advice = f"The model file {path} {refused.reason}", refused.advice
    except DamagedError as error:
        reason, advice = f"The model file {path} is damaged: {error}", DOWNLOAD_AGAIN
    except (FileNotFoundError, NotADirectoryError):
        reason, advice = f"There is no model file {path}", "Correct starcoder.model.path, or download the model"
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL in the path; RuntimeError: no home folder
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error).rstrip(".")
        reason, advice = f"The model file {path} cannot be read ({cause})", "Check the path and its permissions"
    else:
        return
    raise ModelFileError(reason, advice)


@frozen
class _Header:
    """`end_byte` is where the last tensor ends, from the start of the file and without padding."""

    metadata: Mapping[str, object]
    data: bytes
    n_parameters: int
    end_byte: int
    n_bytes: int = 0


def _read_header(file: BinaryIO, n_bytes: int) -> _Header:
    # Not through mmap: a file that shrinks while it is read, as one that is downloaded again, would end the process.
    for limit in _READ_BYTES:
        file.seek(0)
        data = file.read(min(limit, n_bytes))
        check_start(data)
        try:
            return _parse_header(Cursor(data))
        except CutError:
            if len(data) < limit:
                refuse("is cut off or damaged: its header is longer than the file", DOWNLOAD_AGAIN)
    return damaged(f"its header is longer than {_READ_BYTES[-1] >> 20} MiB")


def parse_metadata(cursor: Cursor) -> tuple[Mapping[str, object], int]:
    """Read the metadata at the start of a file, and the number of tensors that follow.

    Raises errors that `raising_model_file_errors` turns into a `ModelFileError`.
    """
    _magic, _version, n_tensors, n_keys = cursor.unpack(START)
    if max(n_tensors, n_keys) > _MAX_ENTRIES:
        damaged(f"its header claims {n_tensors:,} tensors and {n_keys:,} metadata keys")
    metadata: dict[str, object] = {}
    for _ in range(n_keys):
        key = cursor.string().decode(errors="replace")
        if not key or key in metadata:
            damaged(f"the metadata key {shown(key)} is {'there twice' if key else 'empty'}")
        metadata[key] = cursor.value(distinct=key == "tokenizer.ggml.tokens")
        if key == "general.architecture":
            check_architecture(metadata[key])  # now, not after 262,144 tokens of another family's vocabulary
    return metadata, n_tensors


def _parse_header(cursor: Cursor) -> _Header:
    metadata, n_tensors = parse_metadata(cursor)
    is_split = n_parts_of(metadata) > 1
    check_type(metadata.get("general.type"))
    if not is_split or not metadata.get("split.no"):
        check_architecture(metadata.get("general.architecture"))
    if not n_tensors and not is_split:
        refuse("holds a vocabulary only, no tensors", CHOOSE_ANOTHER)
    alignment = metadata.get("general.alignment", _CPU_ALIGNMENT)
    if not isinstance(alignment, int) or alignment % _CPU_ALIGNMENT or alignment.bit_count() != 1:
        return damaged(f"its tensors are aligned to {shown(alignment)} bytes, not to a power of 2 from 32")
    tensors = [cursor.tensor() for _ in range(n_tensors)]
    check_tensors(tensors, alignment)
    data_start_byte = cursor.byte + -cursor.byte % alignment
    n_parameters = sum(tensor.n_elements for tensor in tensors)
    n_tensor_bytes = tensors[-1].start_byte + tensors[-1].n_bytes if tensors else 0
    return _Header(metadata, cursor.data, n_parameters, data_start_byte + n_tensor_bytes)


def _read_part(path: Path, number: int, first: _Header) -> _Header:
    """Check a later part of a split model; `number` counts from 0. Raises `ModelFileError`."""
    with raising_model_file_errors(path):
        n_bytes = path.stat().st_size
        with path.open("rb") as file:
            header = _read_header(file, n_bytes)
        check_part(header.metadata, number, n_parts_of(first.metadata))
        _check_end(header, n_bytes)
    return evolve(header, n_bytes=n_bytes)


def _check_end(header: _Header, n_bytes: int) -> None:
    if header.end_byte > n_bytes:
        refuse(f"is cut off: it has {n_bytes:,} of {header.end_byte:,} bytes", DOWNLOAD_AGAIN)


def _model_file(header: _Header, dimensions: Dimensions, path: Path, n_parameters: int, n_bytes: int) -> ModelFile:
    return ModelFile(
        path=path,
        architecture=str(header.metadata["general.architecture"]),
        name=printable(str(header.metadata.get("general.name") or path.name)),
        n_parameters=n_parameters,
        n_context_train=dimensions.n_context_train,
        n_layers=dimensions.n_layers,
        n_embd=dimensions.n_embd,
        n_bytes=n_bytes,
        n_kv_heads=dimensions.n_kv_heads,
        n_head_embd=dimensions.n_head_embd,
    )
