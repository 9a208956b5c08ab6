"""The script `bench/gpu/run.py` runs to its end without a GPU, on a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from starcoder_lsp.cli.bench.traces import edits_of, read_trace

ROOT = Path(__file__).parents[2]
RUN = ROOT / "bench/gpu/run.py"


def run(output: Path, *more: str) -> tuple[dict[str, Any], str]:
    """Return the report and the output. Programs of a GPU and its llama.cpp are not searched for."""
    command = [sys.executable, str(RUN), "--dry", "--output", str(output), "--built", str(output.parent), *more]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)  # noqa: S603  our own
    assert ran.returncode == 0, ran.stderr
    return json.loads(output.read_text()), ran.stdout


def rows(report: dict[str, Any], title: str, what: str) -> list[dict[str, Any]]:
    return [row for row in report["steps"][title]["rows"] if row["what"] == what]


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="the machines with such GPUs run Linux")
def test_every_step_runs_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    report, printed = run(tmp_path / "result.json")
    assert report["dry"]
    not_done = {title: step["outcome"] for title, step in report["steps"].items() if step["outcome"] != "done"}
    assert not_done == dict.fromkeys(["llama_bench tiny-q4_0", "llama_bench tiny-q8_0", "compare tiny-q4_0"], "skipped")
    slices = {row["slice"]: row["tokens_per_s"] for row in rows(report, "speed tiny-q4_0", "prefill")}
    assert slices.keys() == {64, 128}
    assert [row["slice"] for row in rows(report, "speed tiny-q8_0", "prefill")] == [128]
    assert all(speed > 0 for speed in slices.values())
    (copies,) = rows(report, "speed tiny-q4_0", "copies")
    assert copies["park_ms"]["p50"] > 0
    (replayed,) = rows(report, "replay tiny-q4_0", "all")
    assert replayed["edits"] == report["sizes"]["n_edits"]
    assert {row["slice"] for row in rows(report, "cancel tiny-q4_0", "cancel")} <= {64, 128}
    assert {row["gpu_layers"] for row in rows(report, "offload tiny-q4_0", "decode alone")} == {0, 1, 3}
    found = {row["what"]: row for row in report["steps"]["ladder tiny-q4_0"]["rows"]}
    assert (found["calm"]["starts"], found["calm"]["caution"]) == (1, "FULL")
    assert (found["crashing with a GPU"]["starts"], found["crashing with a GPU"]["caution"]) == (3, "NO_GPU")
    assert "SIGSEGV" in found["crashing with a GPU"]["messages"][0]
    assert (found["remembered"]["starts"], found["remembered"]["messages"]) == (1, [])
    assert "tiny-q4_0 prefill, 64 at once" in printed
    assert list(tmp_path.iterdir()) == [tmp_path / "result.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="the machines with such GPUs run Linux")
def test_steps_that_do_not_fit_the_time_are_left_out_and_named(tmp_path: Path) -> None:
    report, printed = run(tmp_path / "result.json", "--minutes", "0.1")
    skipped = [title for title, step in report["steps"].items() if step["outcome"] == "skipped"]
    assert "speed tiny-q8_0" in skipped
    assert "== speed tiny-q8_0: skipped" in printed


def test_the_generated_trace_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RUN.parent))
    from typed import N_PLACES, N_TYPED, write_trace

    source = ROOT / "starcoder_lsp/engine/gguf.py"
    trace = read_trace(write_trace(source, tmp_path / "typed.json"))
    edits = list(edits_of(trace, 0, len(trace.transactions)))
    assert len(edits) == N_PLACES * N_TYPED
    assert edits[-1].text == source.read_text()
    assert sum(not edit.is_typing for edit in edits) == N_PLACES
