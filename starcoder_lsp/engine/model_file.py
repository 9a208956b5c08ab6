"""Checks a GGUF model file before llama.cpp sees it, and says in one line what is wrong with it.

llama.cpp ends the whole process on a failed assertion, and some bad files reach one: a vocabulary with a doubled token,
an unknown rope scaling, a bias in 16-bit floats. Those are refused here. What is left to llama.cpp it refuses with an
error code, such as a tensor that is missing. Only the header is read; the weights are never looked at.
"""

from __future__ import annotations

import stat
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

from attrs import frozen

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.gguf import BLOCKS, F32, START, Array, Cursor, CutError, DamagedError, TensorEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

ARCHITECTURES: Final = ("starcoder2", "starcoder")
"""What llama.cpp calls the model families that can be used."""

# A header is read in one piece. 4 MiB holds StarCoder2's (1.7 MB); 64 MiB is four times the largest vocabulary in use.
_READ_BYTES: Final = (4 << 20, 64 << 20)
_VERSIONS: Final = (2, 3)
_MAX_ENTRIES: Final = 1 << 16  # metadata keys, and tensors; StarCoder2 15B has about 30 and 650
_MAX_TENSOR_NAME_BYTES: Final = 63  # GGML_MAX_NAME, less its NUL
_MAX_ELEMENTS: Final = 1 << 63  # of a tensor; ggml counts in int64
_MAX_LAYERS: Final = 512  # LLAMA_MAX_LAYERS
_MAX_U31: Final = (1 << 31) - 1
_CPU_ALIGNMENT: Final = 32  # bytes; ggml's CPU buffers assert it
_ROPE_SCALINGS: Final = ("none", "linear", "yarn", "longrope")

_AGAIN: Final = "Download it again"
_ANOTHER: Final = "Set starcoder.model.path to a StarCoder2 or StarCoder model in GGUF format"
_CONVERT: Final = "Convert it with llama.cpp's convert_hf_to_gguf.py"

# What a file that is no GGUF begins with, in lower case, what it then is, and what to do.
_LOOKS_LIKE: Final[tuple[tuple[tuple[bytes, ...], str, str], ...]] = (
    ((b"version https://git-lfs",), "it is a Git LFS pointer", "Fetch the model itself with `git lfs pull`"),
    ((b"<!doctype", b"<html", b"<?xml"), "it is a web page", "Download the file itself, not the page about it"),
    ((b"{",), "it is JSON text, such as an error message", "Download the .gguf file itself"),
    ((b"pk\x03\x04", b"\x80\x02"), "it is a zip or PyTorch archive", f"Unpack it, or: {_CONVERT}"),
    ((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zxz\0"), "it is compressed", "Unpack it"),
    ((b"tjgg", b"fmgg", b"lmgg"), "it is in a format from before GGUF", "Download a GGUF version of it"),
    ((bytes(8),), "it begins with zeros, as an unfinished download does", _AGAIN),
)


class ModelFileError(EngineError):
    """Why a file cannot be used as a model, and what to do about it. `str()` is one printable line of both.

    `reason` and `advice` are sentences without a full stop. Text from the file may stand in them, so what a terminal
    or a log could trip over is replaced by `?`.
    """

    def __init__(self, reason: str, advice: str) -> None:
        """Keep both, printable."""
        self.reason = _printable(reason)
        self.advice = _printable(advice)
        super().__init__(f"{self.reason}. {self.advice}.")


@frozen
class ModelFile:
    """What the header of a usable model file says.

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
    """Check a file as `check_model_file` does, and keep what its header says."""
    with telling_refusals(path):
        path = path.expanduser()
    with telling_refusals(path):  # which is another one now
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            _refuse("is a folder, not a file", _ANOTHER)
        if not stat.S_ISREG(status.st_mode):
            _refuse("is a device or a pipe, not a file", _ANOTHER)
        with path.open("rb") as file:
            header = _read_header(file, status.st_size)
        return ModelHeader(_model_file(header, path, status.st_size), header.metadata, header.data)


@contextmanager
def telling_refusals(path: Path) -> Iterator[None]:
    """Turn whatever is wrong with the file at `path` into a `ModelFileError` that names it."""
    try:
        yield
    except _RefusedError as refused:
        reason, advice = f"The model file {path} {refused.reason}", refused.advice
    except DamagedError as damaged:
        reason, advice = f"The model file {path} is damaged: {damaged}", _AGAIN
    except (FileNotFoundError, NotADirectoryError):
        reason, advice = f"There is no model file {path}", "Correct starcoder.model.path, or download the model"
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL in the path; RuntimeError: no home folder
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error).rstrip(".")
        reason, advice = f"The model file {path} cannot be read ({cause})", "Check the path and its permissions"
    else:
        return
    raise ModelFileError(reason, advice)


class _RefusedError(Exception):
    """The end of a sentence that begins with the file's path, and what to do."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


def _refuse(reason: str, advice: str) -> NoReturn:
    raise _RefusedError(reason, advice)


def _damaged(what: str) -> NoReturn:
    raise DamagedError(what)


@frozen
class _Header:
    """`end_byte` is where the last tensor ends, from the start of the file and without padding."""

    metadata: Mapping[str, object]
    data: bytes
    n_parameters: int
    end_byte: int


def _read_header(file: BinaryIO, n_bytes: int) -> _Header:
    # Not through mmap: a file that shrinks while it is read, as one that is downloaded anew, would end the process.
    for limit in _READ_BYTES:
        file.seek(0)
        data = file.read(min(limit, n_bytes))
        _check_start(data)
        try:
            return _parse_header(Cursor(data))
        except CutError:
            if len(data) < limit:
                _refuse("is cut off or damaged: its header is longer than the file", _AGAIN)
    return _damaged(f"its header is longer than {_READ_BYTES[-1] >> 20} MiB")


def _check_start(data: bytes) -> None:
    """Refuse what is no GGUF of a version and byte order that llama.cpp reads."""
    if not data:
        _refuse("is empty", _AGAIN)
    if not data.startswith(b"GGUF"):
        start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower()
        for beginnings, what, advice in _LOOKS_LIKE:
            if start.startswith(beginnings):
                _refuse(f"is no GGUF model: {what}", advice)
        if data[8:10] == b'{"':  # the length of a JSON header in 8 bytes, and that header
            _refuse("is no GGUF model: it is in safetensors format", _CONVERT)
        _refuse("is no GGUF model", _ANOTHER)
    version = int.from_bytes(data[4:8], "little")
    if len(data) >= START.size and version not in _VERSIONS:
        if version and not version & 0xFFFF:
            _refuse("is written for big-endian machines", "Download the little-endian version")
        advice = "Download a newer conversion of the model" if version <= 1 else "Update llama-cpp-python"
        _refuse(f"is in GGUF version {version}, and only versions 2 and 3 can be read", advice)


def parse_metadata(cursor: Cursor) -> tuple[Mapping[str, object], int]:
    """Read the metadata at the start of a file, and how many tensors follow.

    Raises what `check_model_file` makes a `ModelFileError` of; `telling_refusals` does so for others.
    """
    _magic, _version, n_tensors, n_keys = cursor.unpack(START)
    if max(n_tensors, n_keys) > _MAX_ENTRIES:
        _damaged(f"its header claims {n_tensors:,} tensors and {n_keys:,} metadata keys")
    metadata: dict[str, object] = {}
    for _ in range(n_keys):
        key = cursor.string().decode(errors="replace")
        if not key or key in metadata:
            _damaged(f"the metadata key {_shown(key)} is {'there twice' if key else 'empty'}")
        metadata[key] = cursor.value(distinct=key == "tokenizer.ggml.tokens")
        if key == "general.architecture":
            _check_architecture(metadata[key])  # now, not after 262,144 tokens of another family's vocabulary
    return metadata, n_tensors


def _parse_header(cursor: Cursor) -> _Header:
    metadata, n_tensors = parse_metadata(cursor)
    if metadata.get("split.count", 1) not in {0, 1}:
        _refuse("is one part of a split model", "Join the parts with llama.cpp's llama-gguf-split --merge")
    _check_architecture(metadata.get("general.architecture"))
    if not n_tensors:
        _refuse("holds a vocabulary only, no tensors", _ANOTHER)
    alignment = metadata.get("general.alignment", _CPU_ALIGNMENT)
    if not isinstance(alignment, int) or alignment % _CPU_ALIGNMENT or alignment.bit_count() != 1:
        return _damaged(f"its tensors are aligned to {_shown(alignment)} bytes, not to a power of 2 from 32")
    tensors = [cursor.tensor() for _ in range(n_tensors)]
    _check_tensors(tensors, alignment)
    data_start_byte = cursor.byte + -cursor.byte % alignment
    n_parameters = sum(tensor.n_elements for tensor in tensors)
    end_byte = data_start_byte + tensors[-1].start_byte + tensors[-1].n_bytes
    return _Header(metadata, cursor.data, n_parameters, end_byte)


def _check_architecture(name: object) -> None:
    if name not in ARCHITECTURES:
        what = "names no architecture" if name is None else f"is of the architecture {_shown(name)}"
        _refuse(f"{what}, and only {' and '.join(ARCHITECTURES)} can be used", _ANOTHER)


def _check_tensors(tensors: Iterable[TensorEntry], alignment: int) -> None:
    """Check what each tensor claims. Their data must follow each other in order, as llama.cpp wants it."""
    names: set[bytes] = set()
    next_byte = 0
    for tensor in tensors:
        name = _shown(tensor.name)
        if tensor.name in names or len(tensor.name) > _MAX_TENSOR_NAME_BYTES:
            _damaged(f"the tensor name {name} is {'there twice' if tensor.name in names else 'too long'}")
        names.add(tensor.name)
        if tensor.tensor_type not in BLOCKS:
            advice = "Download another quantization of the model, or update llama-cpp-python"
            _refuse(f"has the tensor {name} in the unknown type {tensor.tensor_type}", advice)
        n_block_elements, _ = BLOCKS[tensor.tensor_type]
        if tensor.n_row_elements % n_block_elements or tensor.n_elements >= _MAX_ELEMENTS:
            _damaged(f"the shape of tensor {name} is {'x'.join(map(str, tensor.shape))}")
        if tensor.start_byte != next_byte:
            _damaged(f"tensor {name} is at byte {tensor.start_byte:,} of the data, not at {next_byte:,}")
        if tensor.n_elements == tensor.n_row_elements and tensor.tensor_type != F32:  # ggml adds no other biases
            _damaged(f"tensor {name} has one row and is not in 32-bit floats")
        next_byte += tensor.n_bytes + -tensor.n_bytes % alignment


def _model_file(header: _Header, path: Path, n_bytes: int) -> ModelFile:
    if header.end_byte > n_bytes:
        _refuse(f"is cut off: it has {n_bytes:,} of {header.end_byte:,} bytes", _AGAIN)
    metadata = header.metadata
    architecture = str(metadata["general.architecture"])

    def whole(key: str, low: int, high: int, default: int | None = None) -> int:
        value = metadata.get(f"{architecture}.{key}", default)
        if not isinstance(value, int) or not low <= value <= high:
            _damaged(f"its {architecture}.{key} is {_shown(value)}")
        return int(value)

    n_embd = whole("embedding_length", 1, _MAX_U31)
    n_heads = whole("attention.head_count", 1, n_embd)
    n_kv_heads = whole("attention.head_count_kv", 1, n_heads, n_heads)
    n_head_embd = n_embd // n_heads
    if n_embd % n_heads or n_heads % n_kv_heads or n_head_embd % 2:
        _damaged(f"a width of {n_embd} cannot be split into {n_heads} heads, of which {n_kv_heads} hold keys")
    for key in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        whole(key, n_head_embd, n_head_embd, n_head_embd)
    for key in ("expert_count", "expert_used_count", "expert_group_count", "nextn_predict_layers"):
        whole(key, 0, 0, 0)  # another family's; llama.cpp asserts how they fit each other
    whole("attention.causal", 1, 1, 1)
    epsilon = metadata.get(f"{architecture}.attention.layer_norm_epsilon")
    if not isinstance(epsilon, float) or not isfinite(epsilon) or epsilon < 0:
        _damaged(f"its {architecture}.attention.layer_norm_epsilon is {_shown(epsilon)}")
    if (scaling := metadata.get(f"{architecture}.rope.scaling.type", "none")) not in _ROPE_SCALINGS:
        _damaged(f"its {architecture}.rope.scaling.type is {_shown(scaling)}")
    _check_vocabulary(metadata)
    return ModelFile(
        path=path,
        architecture=architecture,
        name=_printable(str(metadata.get("general.name") or path.name)),
        n_parameters=header.n_parameters,
        n_context_train=whole("context_length", 1, _MAX_U31),
        n_layers=whole("block_count", 1, _MAX_LAYERS),
        n_embd=n_embd,
        n_bytes=n_bytes,
        n_kv_heads=n_kv_heads,
        n_head_embd=n_head_embd,
    )


def _check_vocabulary(metadata: Mapping[str, object]) -> None:
    """Check that no two tokens are the same, which llama.cpp asserts."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if metadata.get("tokenizer.ggml.model") != "gpt2" or not isinstance(tokens, Array) or not tokens.n_distinct:
        _refuse("has no byte-level BPE vocabulary, which every StarCoder model has", _ANOTHER)
    if tokens.n_distinct != tokens.n:
        _damaged(f"of the {tokens.n:,} tokens of its vocabulary {tokens.n - tokens.n_distinct:,} are there twice")


def _shown(value: object) -> str:
    """Say in a message what a value from the file is."""
    if value is None:
        return "missing"
    if isinstance(value, Array):
        return "an array"
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return repr(text[:60])


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
