from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from attrs import evolve

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench import synthetic as command
from starcoder_lsp.engine import synthetic as writer
from starcoder_lsp.engine.engine import Cancellation, EngineError, GenerationRequest
from starcoder_lsp.engine.fim import format_for
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.gguf import Array, Cursor
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.model_file import check_model_file
from starcoder_lsp.engine.prompt_model import read_prompt_model
from starcoder_lsp.engine.synthetic import synthetic_model
from starcoder_lsp.engine.synthetic_header import (
    N_VOCAB,
    Q4_0,
    Q8_0,
    SHAPES,
    Quantization,
    Shape,
    read_vocabulary,
    tensors_of,
)
from tests.local_engine import LocalEngine
from tests.unit.gguf_files import gguf, starcoder2_metadata

TINY = Shape(n_embd=64, n_layers=2, n_heads=2, n_kv_heads=1, n_ff=96, rope_base=1e4, is_tied=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    return synthetic_model("tiny", TINY, DEMONSTRATOR, folder, lambda _share: None)


def make(size: str, shape: Shape, folder: Path) -> Path:
    return synthetic_model(size, shape, DEMONSTRATOR, folder, lambda _share: None)


@pytest.mark.parametrize(
    ("size", "n_parameters"), [("3b", 3_030_371_328), ("7b", 7_173_923_840), ("15b", 15_957_889_024)]
)
def test_the_shapes_have_the_published_numbers_of_parameters(size: str, n_parameters: int) -> None:
    assert sum(tensor.n_elements for tensor in tensors_of(SHAPES[size])) == n_parameters


@pytest.mark.parametrize(("size", "n_kib"), [("3b", 30), ("7b", 64), ("15b", 80)])
def test_the_kv_bytes_of_a_token(size: str, n_kib: int) -> None:
    assert SHAPES[size].n_kv_bytes == n_kib * 1024


def test_all_heads_have_128_dimensions() -> None:
    assert {shape.n_embd // shape.n_heads for shape in SHAPES.values()} == {128}


def test_the_file_passes_the_check_of_model_files(tiny: Path) -> None:
    checked = check_model_file(tiny)
    assert (checked.n_embd, checked.n_layers, checked.n_context_train) == (64, 2, 16_384)
    assert checked.n_parameters == sum(tensor.n_elements for tensor in tensors_of(TINY))


@pytest.mark.parametrize("quantization", [Q4_0, Q8_0])
async def test_the_model_has_finite_logits(tmp_path: Path, caution: Caution, quantization: Quantization) -> None:
    path = make("tiny", evolve(TINY, quantization=quantization), tmp_path)
    prompts = read_prompt_model(path, 256)
    engine = LocalEngine.load(prompts, path, caution)
    try:
        ids = prompts.tokenizer.encode(b"def add(a, b):\n")
        prompt = format_for("starcoder2", prompts.tokenizer).infill(ids, ())
        request = GenerationRequest("a", prompt, max_new_tokens=8, timeout_ms=math.inf)
        generation = await generate(engine, request, prompts.tokenizer.piece, lambda _text: None, Cancellation())
        await engine.settled()
        engine.check_cells()
        assert generation.n_evaluated == len(ids) + 3
        assert generation.written[0].ids
        assert np.isfinite(engine.context.logits()).all()
        assert b"".join(prompts.tokenizer.piece(i) for i in ids) == b"def add(a, b):\n"
    finally:
        engine.end()


def test_weights_of_either_type_have_the_deviation_of_the_models_initialization() -> None:
    numbers = np.arange(256, dtype=np.uint8)
    nibbles = np.concatenate([numbers & 15, numbers >> 4]).astype(float) - 8
    assert nibbles.std() * Q4_0.scale == pytest.approx(0.018, rel=0.05)
    assert numbers.view(np.int8).astype(float).std() * Q8_0.scale == pytest.approx(0.018, rel=0.05)


def test_a_weight_of_eight_bits_takes_twice_the_space() -> None:
    n_bytes = {
        quantization.name: sum(t.n_bytes for t in tensors_of(evolve(SHAPES["3b"], quantization=quantization)))
        for quantization in (Q4_0, Q8_0)
    }
    assert n_bytes["q8_0"] / n_bytes["q4_0"] == pytest.approx(34 / 18, rel=0.01)


def test_a_small_file_loads(tmp_path: Path, caution: Caution) -> None:
    path = make("small", SHAPES["small"], tmp_path)
    assert 30 << 20 <= path.stat().st_size <= 60 << 20
    LocalEngine.load(read_prompt_model(path, 256), path, caution).end()


def test_a_complete_file_is_reused(tmp_path: Path) -> None:
    path = make("tiny", TINY, tmp_path)
    written = path.stat()
    assert make("tiny", TINY, tmp_path) == path
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:200] + b"?" + data[201:]])
def test_a_damaged_file_is_written_again(tmp_path: Path, damage) -> None:
    path = make("tiny", TINY, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    make("tiny", TINY, tmp_path)
    assert path.read_bytes() == whole


def test_other_dimensions_or_another_vocabulary_are_another_file(tmp_path: Path, tiny: Path) -> None:
    small_vocabulary = tmp_path / "vocabulary.gguf"
    small_vocabulary.write_bytes(gguf(starcoder2_metadata(n_vocab=263), []))
    other = synthetic_model("tiny", TINY, small_vocabulary, tmp_path, lambda _share: None)
    assert other.name != tiny.name
    assert check_model_file(other).n_parameters == check_model_file(tiny).n_parameters


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic_model("tiny", TINY, DEMONSTRATOR, tmp_path, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_the_rest_of_a_killed_write_is_overwritten(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / tiny.name).with_suffix(".part").write_bytes(b"GGUF")
    assert make("tiny", TINY, tmp_path).read_bytes() == tiny.read_bytes()
    assert len(list(tmp_path.iterdir())) == 1


def test_progress_grows_to_1(tmp_path: Path) -> None:
    shares: list[float] = []
    synthetic_model("tiny", TINY, DEMONSTRATOR, tmp_path, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_full_disk_is_reported_before_the_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=2**30))
    with pytest.raises(EngineError, match=r"8\.37 GiB are needed there, and 1\.00 GiB are free") as raised:
        make("15b", SHAPES["15b"], tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_during_the_write_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(writer.os, "fsync", full)
    with pytest.raises(EngineError, match="No space left on device"):
        make("tiny", TINY, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_cache_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(EngineError, match="cache"):
        make("tiny", TINY, tmp_path / "cache" / "synthetic")


def counts(keys: dict[bytes, bytes], key: str, *, distinct: bool = False) -> tuple[int, int | None]:
    array = Cursor(keys[f"tokenizer.ggml.{key}".encode()]).value(distinct=distinct)
    assert isinstance(array, Array)
    return array.n, array.n_distinct


def test_the_demonstrators_vocabulary_is_padded() -> None:
    keys = read_vocabulary(DEMONSTRATOR)
    assert counts(keys, "tokens", distinct=True) == (N_VOCAB, N_VOCAB)
    assert counts(keys, "token_type") == (N_VOCAB, None)


def test_the_real_vocabulary_is_copied(shared: Path) -> None:
    path = shared / "data" / "starcoder2-vocab.gguf"
    keys, data = read_vocabulary(path), path.read_bytes()
    assert counts(keys, "tokens", distinct=True) == (N_VOCAB, N_VOCAB)
    assert all(value in data for value in keys.values())


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not a GGUF file, or cut off"),
        (b"#!/bin/sh\necho this is a script and no model\n", "not a GGUF file, or cut off"),
        (gguf(starcoder2_metadata(), [])[:400], "not a GGUF file, or cut off"),
        (gguf(starcoder2_metadata(), [], n_keys=1 << 40), "not a GGUF file, or cut off"),
        (gguf({"general.architecture": "starcoder2"}, []), "no byte-level BPE vocabulary"),
        (gguf(starcoder2_metadata(tokenizer__ggml__model="llama"), []), "no byte-level BPE vocabulary"),
        (gguf(starcoder2_metadata(tokenizer__ggml__merges=1), []), "no byte-level BPE vocabulary"),
        (gguf(starcoder2_metadata(tokenizer__ggml__tokens=[1, 2, 3]), []), "no byte-level BPE vocabulary"),
        (gguf(starcoder2_metadata(tokenizer__ggml__tokens=["a", "b", "a"]), []), "there twice"),
        (gguf(starcoder2_metadata(tokenizer__ggml__token_type=[1]), []), "7 tokens and 1 types"),
        (gguf(starcoder2_metadata(tokenizer__ggml__tokens=[f"t{i}" for i in range(50_000)]), []), "50,000 tokens"),
    ],
)
def test_a_file_without_a_usable_vocabulary_is_refused(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "vocabulary.gguf"
    path.write_bytes(data)
    with pytest.raises(EngineError, match=what) as raised:
        read_vocabulary(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_missing_vocabulary_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(EngineError, match="not a file"):
            read_vocabulary(path)


def run(
    size: str = "small",
    *,
    vocabulary: Path | None = None,
    n_tokens: int = 64,
    batches: str = "",
    as_json: bool = False,
) -> int:
    return command.synthetic(
        size, vocabulary=vocabulary, n_tokens=n_tokens, batches=batches, seconds=None, as_json=as_json
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run the command on a tiny shape, with its own cache folder and settings."""
    monkeypatch.setitem(SHAPES, "small", TINY)
    monkeypatch.setattr(command.platformdirs, "user_cache_path", lambda *_a, **_k: tmp_path)
    monkeypatch.setattr("starcoder_lsp.cli.complete.user_file", lambda: tmp_path / "none.toml")


@pytest.mark.usefixtures("quick")
def test_the_output_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(n_tokens=200, as_json=True) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["end"] == ""
    (prefill,) = figures["prefill"]
    assert (prefill["batch"], prefill["tokens"]) == (64, 200)
    assert figures["parameters"] == sum(tensor.n_elements for tensor in tensors_of(TINY))
    assert "random" in figures["note"]
    assert figures["machine"].keys() == {"cpu", "threads", "gpuLayers", "llamaCppPython"}
    assert prefill.keys() == {"batch", "tokens", "tokensPerSecond", "msABatch"}
    assert figures["decode"].keys() == {"tokensPerSecond", "bareTokensPerSecond", "ratio", "tokens", "rounds"}
    assert figures["parkMs"].keys() == figures["restoreMs"].keys() == {"p50", "p95"}
    assert figures["stateMiB"] >= 200 * TINY.n_kv_bytes / 2**20 - 0.05
    memory = figures["memory"]
    assert memory.keys() == {"residentMiB", "weightsMiB", "kvMiB", "parkedMiB", "beyondMiB"}
    assert all(memory.values())


@pytest.mark.usefixtures("quick")
def test_the_table_says_that_the_text_is_meaningless(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(n_tokens=1) == 0
    shown = capsys.readouterr().out
    assert "noise" in shown
    assert re.search(r"\| tokens of the prefill +\| +1 \|", shown)


@pytest.mark.usefixtures("quick")
def test_one_run_measures_several_sizes_of_batches(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(n_tokens=300, batches="32,100,256", as_json=True) == 0
    rows = json.loads(capsys.readouterr().out)["prefill"]
    assert [(row["batch"], row["tokens"]) for row in rows] == [(32, 300), (100, 300), (256, 300)]
    for row in rows:
        assert row["msABatch"] == pytest.approx(1000 * row["batch"] / row["tokensPerSecond"], rel=0.1, abs=0.1)


@pytest.mark.parametrize("step_s", [0.1, 1.0, 10.0])
def test_a_slow_machine_measures_at_least_one_of_each_figure(step_s: float) -> None:
    done: list[str] = []
    for what, _ in command.steps_of(4096, [64, 512], lambda: len(done) * step_s / 60):
        done.append(what)
        if len(done) * step_s >= 60:
            break
    assert {"prefill", "copy"} <= set(done)
    assert "decode" in done or step_s == 10.0
    prefills = [index for index, what in enumerate(done) if what == "prefill"]
    assert max(prefills) * step_s <= 0.6 * 60 + 2 * step_s


@pytest.mark.usefixtures("quick")
def test_the_results_before_ctrl_c_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add = command.Figures.add

    def add_and_interrupt(self: command.Figures, step: tuple[str, int], result: dict[str, object]) -> None:
        add(self, step, result)
        if step[0] == "prefill":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(command.Figures, "add", add_and_interrupt)
    n_steps = len(list(command.steps_of(300, [0], lambda: 0.0)))
    assert run(n_tokens=300, as_json=True) == 130
    report = json.loads(capsys.readouterr().out)
    assert report["end"] == f"ended by Ctrl-C: 2 of {n_steps}"
    assert report["prefill"][0]["tokens"] == 128
    assert "decode" not in report


@pytest.mark.usefixtures("quick")
def test_the_number_of_tokens_is_limited_by_the_context(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "N_CONTEXT_TRAIN", 256)
    run(n_tokens=10_000, as_json=True)
    assert json.loads(capsys.readouterr().out)["prefill"][0]["tokens"] == 256 - command.N_DECODED


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("size", "vocabulary", "n_tokens", "what"),
    [
        ("20b", None, 64, "expected one of 3b, 7b, 15b, small"),
        ("small", None, 0, "at least one"),
        ("small", Path("none.gguf"), 64, r"none\.gguf: not a file"),
    ],
)
def test_wrong_arguments_are_reported(size: str, vocabulary: Path | None, n_tokens: int, what: str) -> None:
    with pytest.raises(CommandError, match=what):
        run(size, vocabulary=vocabulary, n_tokens=n_tokens)


@pytest.mark.parametrize("batches", ["0", "64,", "x", "64,9000", "-1"])
def test_invalid_batches_are_refused(batches: str) -> None:
    with pytest.raises(CommandError, match="expected numbers from 1 to 8,192"):
        run(batches=batches)
