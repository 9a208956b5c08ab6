from __future__ import annotations

import os
import struct
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.model_file import ModelFile, ModelFileError, check_model_file
from tests.unit.gguf_files import Q4_0, Raw, Tensor, gguf, starcoder2_metadata, starcoder2_tensors, string

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[bytes], ModelFile]

VALID = gguf(starcoder2_metadata(), starcoder2_tensors())
N_DATA_BYTES = sum(tensor.n_bytes + -tensor.n_bytes % 32 for tensor in starcoder2_tensors())
N_HEADER_BYTES = len(VALID) - N_DATA_BYTES
MODEL = starcoder2_metadata()
TENSORS = starcoder2_tensors()
VOCABULARY = Path(__file__).parents[3] / "shared" / "data" / "starcoder2-vocab.gguf"
HUGE = 2**64 - 1


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """`check_model_file`, called on a file with the given bytes."""
    path = tmp_path_factory.mktemp("models") / "model.gguf"

    path.touch()

    def check_bytes(data: bytes) -> ModelFile:
        with path.open("r+b") as file:  # "wb" would truncate the file first, and ext4 then takes 4 ms to flush it
            file.write(data)
            file.truncate()
        return check_model_file(path)

    return check_bytes


def refusal(check: Check, data: bytes) -> str:
    with pytest.raises(ModelFileError) as caught:
        check(data)
    text = str(caught.value)
    assert text == f"{caught.value.reason}. {caught.value.advice}."
    assert text.isprintable()
    return text


def is_accepted(check: Check, data: bytes) -> bool:
    """Return whether the file passes. Any exception but `ModelFileError` fails the test."""
    try:
        check(data)
    except ModelFileError as error:
        text = str(error)
    else:
        return True
    assert text.isprintable()
    return False


def test_a_valid_file_is_described(tmp_path: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(VALID)
    n_parameters = sum(tensor.n_bytes // 4 for tensor in TENSORS)
    assert check_model_file(path) == ModelFile(path, "starcoder2", "tiny", n_parameters, 64, 1, 8, len(VALID), 1, 4)


@given(
    n_heads=st.integers(1, 4),
    n_half_head_embd=st.integers(1, 8),
    n_vocab=st.integers(7, 40),
    n_layers=st.integers(1, 512),
    n_context=st.integers(1, 2**31 - 1),
    name=st.text(),
)
def test_the_header_is_read_as_it_was_written(
    check: Check, n_heads: int, n_half_head_embd: int, n_vocab: int, n_layers: int, n_context: int, name: str
):
    n_embd = n_heads * n_half_head_embd * 2
    changes = {
        "general__name": name.encode("utf-8", "replace"),
        "starcoder2__attention__head_count": n_heads,
        "starcoder2__block_count": n_layers,
        "starcoder2__context_length": n_context,
    }
    tensors = [Tensor("token_embd.weight", (n_embd, n_vocab)), Tensor("output_norm.weight", (n_embd,))]
    found = check(gguf(starcoder2_metadata(n_embd, n_vocab, **changes), tensors))
    assert (found.n_layers, found.n_context_train, found.n_embd) == (n_layers, n_context, n_embd)
    assert found.n_parameters == n_embd * (n_vocab + 1)
    assert found.name.isprintable()
    assert found.name == name or not name.isprintable() or not name


@pytest.mark.parametrize("version", [2, 3])
def test_versions_2_and_3_are_read(check: Check, version: int):
    assert check(gguf(MODEL, TENSORS, version=version)).architecture == "starcoder2"


def test_the_original_starcoder_is_accepted(check: Check):
    metadata = {key.replace("starcoder2.", "starcoder."): value for key, value in MODEL.items()}
    metadata["general.architecture"] = "starcoder"
    assert check(gguf(metadata, TENSORS)).architecture == "starcoder"


def test_a_model_without_a_name_gets_the_files_name(check: Check):
    assert check(gguf(starcoder2_metadata(general__name=None), TENSORS)).name == "model.gguf"


def test_a_header_longer_than_the_first_read_is_read_again(check: Check):
    metadata = {"general.long": "x" * (5 << 20), **MODEL}
    assert check(gguf(metadata, TENSORS)).name == "tiny"


def test_the_size_of_a_quantized_tensor_is_counted_in_blocks(check: Check):
    weights = Tensor("token_embd.weight", (64, 3), Q4_0)
    whole = gguf(MODEL, [weights])
    assert weights.n_bytes == 3 * 2 * 18
    assert check(whole).n_parameters == 192
    padding = -weights.n_bytes % 32
    assert is_accepted(check, whole[:-padding])
    assert "is cut off" in refusal(check, whole[: -padding - 1])


@pytest.mark.parametrize(
    ("data", "words", "advice"),
    [
        (b"", "is empty", "Download"),
        (b"<!DOCTYPE html><html>", "is no GGUF model: it is a web page", "Download the file itself"),
        (b"\xef\xbb\xbf\r\n <HTML>", "is no GGUF model: it is a web page", "Download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer", "git lfs pull"),
        (b'{"error": "Access denied"}', "it is JSON text", "Download the .gguf file"),
        (struct.pack("<Q", 900) + b'{"__metadata__":{}', "it is in safetensors format", "Convert"),
        (b"PK\x03\x04\x14\0", "it is a zip or PyTorch archive", "Unpack"),
        (b"\x80\x02}q\0", "it is a zip or PyTorch archive", "Convert"),
        (b"\x1f\x8b\x08\0", "it is compressed", "Unpack"),
        (b"tjgg\3\0\0\0", "it is in a format from before GGUF", "GGUF version"),
        (bytes(4096), "it begins with zeros, as an unfinished download does", "Download"),
        (b"hello, world", "is no GGUF model.", "Set starcoder.model.path"),
        (b"GGU", "is no GGUF model.", "Set starcoder.model.path"),
        (b"GGUF", "is cut off or damaged", "Download"),
        (gguf(MODEL, TENSORS, version=1), "is in GGUF version 1, and only versions 2 and 3", "newer conversion"),
        (gguf(MODEL, TENSORS, version=4), "is in GGUF version 4, and only versions 2 and 3", "Update"),
        (gguf(MODEL, TENSORS, order=">"), "is written for big-endian machines", "little-endian"),
        (gguf(MODEL, []), "holds a vocabulary only, no tensors", "Set starcoder.model.path"),
        (gguf({}, TENSORS), "names no architecture", "Set starcoder.model.path"),
        (gguf({"general.architecture": "llama"}, []), "'llama', and only starcoder2 and starcoder", "Set starcoder"),
        (
            gguf({"split.no": 1, "split.count": 3}, TENSORS),
            "is a later part of a model in 3 parts",
            "Name the first one",
        ),
        (VALID[:600], "is cut off or damaged", "Download"),
        (VALID[:-400], f"is cut off: it has {len(VALID) - 400:,} of {len(VALID):,} bytes", "Download"),
    ],
)
def test_an_error_names_what_a_file_is_instead_of_a_model(check: Check, data: bytes, words: str, advice: str):
    text = refusal(check, data)
    assert words in text
    assert advice in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embedding_length", None),
        ("embedding_length", 0),
        ("embedding_length", 2**31),
        ("embedding_length", "8"),
        ("embedding_length", [8]),
        ("embedding_length", 6),  # three values a head, but rotation needs pairs
        ("attention.head_count", 3),
        ("attention.head_count", 0),
        ("attention.head_count_kv", 0),
        ("attention.head_count_kv", 3),
        ("attention.key_length", 8),
        ("attention.causal", False),
        ("attention.layer_norm_epsilon", None),
        ("attention.layer_norm_epsilon", float("nan")),
        ("attention.layer_norm_epsilon", -1.0),
        ("rope.dimension_count", 2),
        ("rope.scaling.type", "su"),
        ("block_count", 0),
        ("block_count", 513),
        ("context_length", 0),
        ("expert_used_count", 1),
        ("nextn_predict_layers", 2),
    ],
)
def test_hyperparameters_that_llama_cpp_asserts_are_checked(check: Check, key: str, value: object):
    changed = {f"starcoder2__{key.replace('.', '__')}": value}
    assert " is damaged: " in refusal(check, gguf(starcoder2_metadata(**changed), TENSORS))


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (None, "no byte-level BPE vocabulary"),
        ([], "no byte-level BPE vocabulary"),
        ([1, 2], "no byte-level BPE vocabulary"),
        (["a", "b", "a", "a"], "of the 4 tokens of its vocabulary 2 are there twice"),
        (["ab\0c", "ab"], "of the 2 tokens of its vocabulary 1 are there twice"),  # C strings: both are "ab"
    ],
)
def test_a_vocabulary_that_llama_cpp_asserts_is_checked(check: Check, tokens: object, words: str):
    assert words in refusal(check, gguf(starcoder2_metadata(tokenizer__ggml__tokens=tokens), TENSORS))


def test_another_kind_of_tokenizer_is_refused(check: Check):
    assert "no byte-level BPE" in refusal(check, gguf(starcoder2_metadata(tokenizer__ggml__model="llama"), TENSORS))


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (Tensor("x" * 64, (8,)), "is too long"),
        (TENSORS[0], "is there twice"),
        (Tensor("x", (8, 1, 1, 1, 1)), "a tensor has 5 dimensions"),
        (Tensor("x", (2**40, 2**40)), "the shape of tensor 'x'"),
        (Tensor("x", (33, 2), Q4_0), "the shape of tensor 'x' is 33x2"),
        (Tensor("x", (8, 8), 9), "in the unknown type 9"),
        (Tensor("x", (8, 8), 4), "in the unknown type 4"),
        (Tensor("x", (8, 8), HUGE >> 32), "in the unknown type 4294967295"),
        (Tensor("x", (32,), Q4_0), "is not in 32-bit floats"),
        (Tensor("x", (32, 1), 1), "is not in 32-bit floats"),
        (Tensor("x", (8,), offset=32), "is at byte 32 of the data"),
        (Tensor("x", (8,), offset=HUGE), "is at byte 18,446,744,073,709,551,615 of the data"),
        (Tensor("x", (2**40,)), "is cut off"),
    ],
)
def test_tensors_are_checked(check: Check, tensor: Tensor, words: str):
    assert words in refusal(check, gguf(MODEL, [*TENSORS, tensor], data=bytes(N_DATA_BYTES)))


@pytest.mark.parametrize("alignment", [0, 1, 16, 33, 96, "32", True])
def test_alignment_is_a_power_of_two_within_limits(check: Check, alignment: object):
    assert "its tensors are aligned to" in refusal(check, gguf({"general.alignment": alignment, **MODEL}, TENSORS))


@pytest.mark.parametrize(
    "data",
    [
        gguf(MODEL, TENSORS, n_keys=HUGE),
        gguf(MODEL, TENSORS, n_tensors=HUGE),
        gguf(MODEL, TENSORS, n_keys=1 << 16),
        gguf(MODEL, TENSORS, n_tensors=1 << 16),
        gguf({"a": Raw(8, struct.pack("<Q", HUGE))}, []),
        gguf({"a": Raw(8, struct.pack("<Q", 2**62))}, []),
        gguf({"a": Raw(9, struct.pack("<IQ", 8, HUGE))}, []),
        gguf({"a": Raw(9, struct.pack("<IQ", 8, 1 << 21))}, []),
        gguf({"a": Raw(9, struct.pack("<IQQ", 8, 3, HUGE))}, []),
        gguf({"tokenizer.ggml.tokens": Raw(9, struct.pack("<IQQ", 8, 3, HUGE))}, []),
        gguf({"a": Raw(9, struct.pack("<IQ", 10, HUGE))}, []),
        gguf({"a": Raw(9, struct.pack("<IQ", 9, 1))}, []),
        gguf({"a": Raw(13, b"")}, []),
        gguf({"": 1}, []),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + 2 * (string("twice") + struct.pack("<II", 4, 1)),
    ],
    ids=range(15),
)
def test_a_header_with_huge_counts_is_refused_at_once(check: Check, data: bytes):
    started = time.perf_counter()
    assert "damaged" in refusal(check, data)
    assert time.perf_counter() - started < 1


def test_control_characters_of_a_file_do_not_reach_a_message(check: Check):
    text = refusal(check, gguf({"general.architecture": "a\n\x1b[31mb\u202e" + "c" * 10_000}, TENSORS))
    assert len(text) < 600


def test_every_truncation_is_refused(check: Check, tmp_path: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(VALID)
    for n_bytes in range(len(VALID) - 1, -1, -1):
        os.truncate(path, n_bytes)
        n_padding = -TENSORS[-1].n_bytes % 32
        if n_bytes < len(VALID) - n_padding:
            with pytest.raises(ModelFileError):
                check_model_file(path)
    assert is_accepted(check, VALID)


@pytest.mark.parametrize("change", [lambda byte: byte ^ 0xFF, lambda byte: byte ^ 1, lambda _: 0, lambda _: 0x7F])
def test_no_changed_byte_raises_another_error(check: Check, change: Callable[[int], int]):
    for i in range(N_HEADER_BYTES):
        is_accepted(check, VALID[:i] + bytes([change(VALID[i])]) + VALID[i + 1 :])


@given(start=st.integers(0, len(VALID)), n=st.integers(0, 64), replacement=st.binary(max_size=64))
def test_no_changed_region_raises_another_error(check: Check, start: int, n: int, replacement: bytes):
    data = VALID[:start] + replacement + VALID[start + n :]
    tracemalloc.start()
    started = time.perf_counter()
    try:
        is_accepted(check, data)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
        assert time.perf_counter() - started < 2
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=300))
def test_no_bytes_after_the_magic_raise_another_error(check: Check, data: bytes):
    assert not is_accepted(check, data)
    assert not is_accepted(check, VALID[:24] + data)


def test_a_missing_file_is_named(tmp_path: Path):
    path = tmp_path / "none.gguf"
    with pytest.raises(ModelFileError, match="There is no model file") as caught:
        check_model_file(path)
    assert str(path) in str(caught.value)
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ModelFileError, match="There is no model file"):
        check_model_file(path)
    (tmp_path / "file").touch()
    with pytest.raises(ModelFileError, match="There is no model file"):
        check_model_file(tmp_path / "file" / "below")


def test_a_folder_and_a_pipe_are_refused(tmp_path: Path):
    with pytest.raises(ModelFileError, match="is a folder, not a file"):
        check_model_file(tmp_path)
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe")  # opening it would block until another process writes
    with pytest.raises(ModelFileError, match="is a device or a pipe, not a file"):
        check_model_file(tmp_path / "pipe")


@pytest.mark.parametrize("path", ["a\0b", "~nobody-of-this-name/model.gguf", "x" * 5000])
def test_an_impossible_path_is_refused(path: str):
    with pytest.raises(ModelFileError, match="cannot be read") as caught:
        check_model_file(Path(path))
    assert str(caught.value).isprintable()


def test_a_file_without_read_permission_is_refused(tmp_path: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(VALID)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(ModelFileError, match="cannot be read"):
        check_model_file(path)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "model.gguf").write_bytes(VALID)
    assert check_model_file(Path("~/model.gguf")).path == tmp_path / "model.gguf"


def test_a_file_with_a_vocabulary_alone_is_refused_as_such():
    if not VOCABULARY.exists():
        pytest.skip(f"{VOCABULARY} is not there")
    started = time.perf_counter()
    with pytest.raises(ModelFileError, match="holds a vocabulary only, no tensors"):
        check_model_file(VOCABULARY)
    assert time.perf_counter() - started < 1  # 0.03 s on an idle machine
