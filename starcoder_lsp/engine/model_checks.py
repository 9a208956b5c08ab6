"""Check by a GGUF header whether llama.cpp can load the file, and name the fault in one line if it cannot.

llama.cpp ends the whole process on a failed assertion, and some bad files reach one: a vocabulary with a doubled token,
an unknown rope scaling, a bias in 16-bit floats. The checks here refuse those. llama.cpp itself returns an error code
for the rest, such as a missing tensor.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Final, NoReturn

from attrs import frozen

from starcoder_lsp.engine.families import FAMILIES
from starcoder_lsp.engine.gguf import BLOCKS, F32, START, Array, DamagedError, TensorEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_VERSIONS: Final = (2, 3)
_MAX_TENSOR_NAME_BYTES: Final = 63  # GGML_MAX_NAME, less its NUL
_MAX_ELEMENTS: Final = 1 << 63  # of a tensor; ggml counts in int64
_MAX_LAYERS: Final = 512  # LLAMA_MAX_LAYERS
_MAX_U31: Final = (1 << 31) - 1
_ROPE_SCALINGS: Final = ("none", "linear", "yarn", "longrope")

DOWNLOAD_AGAIN: Final = "Download it again"
CHOOSE_ANOTHER: Final = "Set starcoder.model.path to a StarCoder2 or StarCoder model in GGUF format"
_CONVERT: Final = "Convert it with llama.cpp's convert_hf_to_gguf.py"

# How a file that is no GGUF begins, in lower case; what it is; and the advice.
_OTHER_FORMATS: Final[tuple[tuple[tuple[bytes, ...], str, str], ...]] = (
    ((b"version https://git-lfs",), "it is a Git LFS pointer", "Fetch the model itself with `git lfs pull`"),
    ((b"<!doctype", b"<html", b"<?xml"), "it is a web page", "Download the file itself, not the page about it"),
    ((b"{",), "it is JSON text, such as an error message", "Download the .gguf file itself"),
    ((b"pk\x03\x04", b"\x80\x02"), "it is a zip or PyTorch archive", f"Unpack it, or: {_CONVERT}"),
    ((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zxz\0"), "it is compressed", "Unpack it"),
    ((b"tjgg", b"fmgg", b"lmgg"), "it is in a format from before GGUF", "Download a GGUF version of it"),
    ((bytes(8),), "it begins with zeros, as an unfinished download does", DOWNLOAD_AGAIN),
)


# What a GGUF file may be besides a model, by `general.architecture` or `general.type`.
_NO_MODELS: Final = {
    "clip": "a projector for images (mmproj)",
    "mmproj": "a projector for images (mmproj)",
    "imatrix": "an importance matrix for quantizing",
    "control_vector": "a control vector",
    "controlvector": "a control vector",
}
ADAPTER: Final = "adapter"


class RefusedError(Exception):
    """A file cannot be used. The text is the end of a sentence that begins with the file's path, and advice."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


@frozen
class Dimensions:
    """The model's dimensions; see `ModelFile`."""

    n_context_train: int
    n_layers: int
    n_embd: int
    n_kv_heads: int
    n_head_embd: int


def refuse(reason: str, advice: str) -> NoReturn:
    """Raise `RefusedError`."""
    raise RefusedError(reason, advice)


def damaged(reason: str) -> NoReturn:
    """Raise `DamagedError`."""
    raise DamagedError(reason)


def check_start(data: bytes) -> None:
    """Raise `RefusedError` unless the file begins as a GGUF of a version and byte order that llama.cpp reads."""
    if not data:
        refuse("is empty", DOWNLOAD_AGAIN)
    if not data.startswith(b"GGUF"):
        start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower()
        for beginnings, what, advice in _OTHER_FORMATS:
            if start.startswith(beginnings):
                refuse(f"is no GGUF model: {what}", advice)
        if data[8:10] == b'{"':  # the length of a JSON header in 8 bytes, and that header
            refuse("is no GGUF model: it is in safetensors format", _CONVERT)
        refuse("is no GGUF model", CHOOSE_ANOTHER)
    version = int.from_bytes(data[4:8], "little")
    if len(data) >= START.size and version not in _VERSIONS:
        if version and not version & 0xFFFF:
            refuse("is written for big-endian machines", "Download the little-endian version")
        advice = "Download a newer conversion of the model" if version <= 1 else "Update llama-cpp-python"
        refuse(f"is in GGUF version {version}, and only versions 2 and 3 can be read", advice)


def check_architecture(name: object) -> None:
    """Raise `RefusedError` for another model family."""
    if (what := _NO_MODELS.get(str(name))) is not None:
        refuse(f"is {what}, not a language model", CHOOSE_ANOTHER)
    if name not in FAMILIES:
        what = "names no architecture" if name is None else f"is of the architecture {shown(name)}"
        refuse(f"{what}, and only {' and '.join(FAMILIES)} can be used", CHOOSE_ANOTHER)


def check_type(name: object) -> None:
    """Raise `RefusedError` for a `general.type` that is not a model."""
    if name == ADAPTER:
        advice = "Set starcoder.model.lora.path to it, and starcoder.model.path to the model that it was made for"
        refuse("is a LoRA adapter, not a model", advice)
    if (what := _NO_MODELS.get(str(name))) is not None:
        refuse(f"is {what}, not a language model", CHOOSE_ANOTHER)


def check_tensors(tensors: Iterable[TensorEntry], alignment: int) -> None:
    """Check each tensor's entry. llama.cpp requires their data back to back, in order.

    Raises `RefusedError` and `DamagedError`.
    """
    names: set[bytes] = set()
    next_byte = 0
    for tensor in tensors:
        name = shown(tensor.name)
        if tensor.name in names or len(tensor.name) > _MAX_TENSOR_NAME_BYTES:
            damaged(f"the tensor name {name} is {'there twice' if tensor.name in names else 'too long'}")
        names.add(tensor.name)
        if tensor.tensor_type not in BLOCKS:
            advice = "Download another quantization of the model, or update llama-cpp-python"
            refuse(f"has the tensor {name} in the unknown type {tensor.tensor_type}", advice)
        n_block_elements, _ = BLOCKS[tensor.tensor_type]
        if tensor.n_row_elements % n_block_elements or tensor.n_elements >= _MAX_ELEMENTS:
            damaged(f"the shape of tensor {name} is {'x'.join(map(str, tensor.shape))}")
        if tensor.start_byte != next_byte:
            damaged(f"tensor {name} is at byte {tensor.start_byte:,} of the data, not at {next_byte:,}")
        if tensor.n_elements == tensor.n_row_elements and tensor.tensor_type != F32:  # ggml adds no other biases
            damaged(f"tensor {name} has one row and is not in 32-bit floats")
        next_byte += tensor.n_bytes + -tensor.n_bytes % alignment


def read_dimensions(metadata: Mapping[str, object]) -> Dimensions:
    """Check the metadata that llama.cpp computes with, and return the dimensions among it.

    Raises `RefusedError` and `DamagedError`.
    """
    architecture = str(metadata["general.architecture"])

    def whole(key: str, low: int, high: int, default: int | None = None) -> int:
        value = metadata.get(f"{architecture}.{key}", default)
        if not isinstance(value, int) or not low <= value <= high:
            damaged(f"its {architecture}.{key} is {shown(value)}")
        return int(value)

    n_embd = whole("embedding_length", 1, _MAX_U31)
    n_heads = whole("attention.head_count", 1, n_embd)
    n_kv_heads = whole("attention.head_count_kv", 1, n_heads, n_heads)
    n_head_embd = n_embd // n_heads
    if n_embd % n_heads or n_heads % n_kv_heads or n_head_embd % 2:
        damaged(f"a width of {n_embd} cannot be split into {n_heads} heads, of which {n_kv_heads} hold keys")
    for key in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        whole(key, n_head_embd, n_head_embd, n_head_embd)
    for key in ("expert_count", "expert_used_count", "expert_group_count", "nextn_predict_layers"):
        whole(key, 0, 0, 0)  # of other families; llama.cpp asserts that they fit each other
    whole("attention.causal", 1, 1, 1)
    epsilon_key = f"{architecture}.attention.{FAMILIES[architecture].norm_epsilon}"
    epsilon = metadata.get(epsilon_key)
    if not isinstance(epsilon, float) or not isfinite(epsilon) or epsilon < 0:
        damaged(f"its {epsilon_key} is {shown(epsilon)}")
    if (scaling := metadata.get(f"{architecture}.rope.scaling.type", "none")) not in _ROPE_SCALINGS:
        damaged(f"its {architecture}.rope.scaling.type is {shown(scaling)}")
    _check_vocabulary(metadata)
    return Dimensions(
        n_context_train=whole("context_length", 1, _MAX_U31),
        n_layers=whole("block_count", 1, _MAX_LAYERS),
        n_embd=n_embd,
        n_kv_heads=n_kv_heads,
        n_head_embd=n_head_embd,
    )


def _check_vocabulary(metadata: Mapping[str, object]) -> None:
    """Check that no two tokens are the same, which llama.cpp asserts."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if metadata.get("tokenizer.ggml.model") != "gpt2" or not isinstance(tokens, Array) or not tokens.n_distinct:
        refuse("has no byte-level BPE vocabulary, which every supported model has", CHOOSE_ANOTHER)
    if tokens.n_distinct != tokens.n:
        damaged(f"of the {tokens.n:,} tokens of its vocabulary {tokens.n - tokens.n_distinct:,} are there twice")


def shown(value: object) -> str:
    """Return how a message spells a value from the file."""
    if value is None:
        return "missing"
    if isinstance(value, Array):
        return "an array"
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return repr(text[:60])
