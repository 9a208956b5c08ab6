"""Measure one NVIDIA GPU in five minutes, without a network: `python bench/gpu/run.py [--minutes N] [--dry]`.

Models of StarCoder2's dimensions with random weights are written there and measured: speeds by micro-batch, the whole
server, cancelling, offload in parts, a host that dies at load, and llama.cpp's own programs beside it. Every step is a
process of its own with a time limit, so none ends the run. After each the figures so far are written to one JSON file.

This file imports the standard library alone. The steps use the libraries and packages that build.sh packed, or else the
installed ones. Without a GPU, or with `--dry`, every step runs on the CPU with tiny dimensions.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import environment
from typed import write_trace

ROOT = Path(__file__).parents[2]
MACHINE_S = 60.0
"""The limit of the first step, in which llama.cpp's CUDA code is read from disk and the GPU wakes up."""
NEEDED = {"llama_bench": "llama-bench", "compare": "llama-server"}
"""The programs of llama.cpp that steps run."""
LEFT_S = 5.0
"""The time kept for the end: every step ends at least so long before the deadline."""


@dataclass(frozen=True)
class Sizes:
    """The amounts that are measured. Slices are micro-batches, in tokens."""

    models: tuple[tuple[str, str], ...]
    slices: tuple[int, ...]
    few_slices: tuple[int, ...]
    """For all models but the first."""
    n_prompt: int
    """Tokens of a prompt whose evaluation is timed; llama-bench gets as many."""
    n_held: int
    """Tokens in the cells when decoding and copies are timed."""
    n_decoded: int
    n_runs: int
    """Timed runs of each prefill, after one that is not."""
    n_edits: int
    n_compared: int
    """Edits for which llama-server is asked, too."""
    n_cancels: int
    """Prefills that are cancelled, for each slice."""


FULL = Sizes(
    models=(("3b", "q4_0"), ("7b", "q4_0"), ("15b", "q4_0"), ("3b", "q8_0"), ("7b", "q8_0"), ("15b", "q8_0")),
    slices=(64, 128, 256, 512, 1024, 2048),
    few_slices=(64, 512, 2048),
    n_prompt=2048,
    n_held=1920,
    n_decoded=64,
    n_runs=3,
    n_edits=200,
    n_compared=60,
    n_cancels=20,
)
DRY = Sizes(
    models=(("tiny", "q4_0"), ("tiny", "q8_0")),
    slices=(64, 128),
    few_slices=(128,),
    n_prompt=256,
    n_held=128,
    n_decoded=8,
    n_runs=1,
    n_edits=10,
    n_compared=4,
    n_cancels=2,
)


@dataclass(frozen=True)
class Step:
    """A function of `steps.py`, for one model: it begins while `least_s` are left and may take `most_s`."""

    name: str
    model: tuple[str, str]
    most_s: float
    least_s: float = 5.0
    is_brief: bool = False
    """If true, measure `few_slices` only."""

    @property
    def title(self) -> str:
        """The step's name in the report."""
        return f"{self.name} {'-'.join(self.model)}"


@dataclass
class Run:
    """The run's state: paths, the time left, and the results so far."""

    sizes: Sizes
    folder: Path
    output: Path
    deadline_s: float
    given: dict[str, Any]
    """The input that all steps share."""
    env: dict[str, str]
    report: dict[str, Any] = field(default_factory=lambda: {"steps": {}})

    @property
    def left_s(self) -> float:
        """Seconds until the time is up."""
        return self.deadline_s - time.monotonic()

    def write(self) -> None:
        """Write all figures so far, so that the file is complete at any time."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        part = self.output.with_name(self.output.name + ".part")
        part.write_text(json.dumps(self.report, indent=1))
        part.replace(self.output)

    def do(self, step: Step) -> list[dict[str, Any]]:
        """Run a step, or report why it is skipped. Return its rows."""
        room_s = self.left_s - LEFT_S
        program = NEEDED.get(step.name)
        why = f"there is no {program}" if program and program not in self.given["programs"] else ""
        why = f"{self.left_s:.0f} s are left" if room_s < step.least_s else why
        if why:
            outcome: dict[str, Any] = {"outcome": "skipped", "why": why, "rows": []}
            print(f"== {step.title}: skipped, {why}", flush=True)
        else:
            print(f"== {step.title}", flush=True)
            outcome = self._run(step, min(step.most_s, room_s))
            print(f"   {step.title}: {outcome['outcome']} after {outcome['seconds']} s", flush=True)
        self.report["steps"][step.title] = outcome
        self.write()
        rows: list[dict[str, Any]] = outcome["rows"]
        return rows

    def _run(self, step: Step, limit_s: float) -> dict[str, Any]:
        """Run the step's process. Return its outcome, its time and the rows that it wrote."""
        rows = self.folder / "rows.jsonl"
        rows.write_text("")
        sizes = replace(self.sizes, slices=self.sizes.few_slices) if step.is_brief else self.sizes
        told = self.given | {
            "step": step.name,
            "model": step.model[0],
            "weights": step.model[1],
            "soft_s": limit_s * 0.85,
            "rows": str(rows),
            "sizes": asdict(sizes),
        }
        started = time.monotonic()
        process = subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, str(Path(__file__).with_name("steps.py")), json.dumps(told)],
            env=self.env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = process.wait(limit_s)
            outcome = "done" if code == 0 else f"failed with code {code}"
        except subprocess.TimeoutExpired:
            outcome = f"cut off after {limit_s:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        written = [json.loads(line) for line in rows.read_text().splitlines() if line.endswith("}")]
        return {"outcome": outcome, "seconds": round(time.monotonic() - started, 1), "rows": written}


def steps(sizes: Sizes) -> Iterator[Step]:
    """Yield the steps, the most important first."""
    first, *others = sizes.models
    yield Step("speed", first, 60)
    yield Step("llama_bench", first, 40)
    yield Step("replay", first, 60, least_s=15)
    yield Step("cancel", first, 30)
    yield Step("ladder", first, 40)
    yield Step("offload", first, 40)
    yield Step("compare", first, 40, least_s=15)
    for model in others:
        yield Step("speed", model, 60, least_s=15, is_brief=True)
        yield Step("llama_bench", model, 40, least_s=10, is_brief=True)


def run_all(run: Run) -> None:
    """Run every step. The files of a model go when the last step that reads them is over."""
    plan = list(steps(run.sizes))
    for number, step in enumerate(plan):
        run.do(step)
        if all(later.model != step.model for later in plan[number + 1 :]):
            for path in run.folder.glob(f"starcoder2-{'-'.join(step.model)}-*.gguf"):
                path.unlink()


def summary(report: dict[str, Any]) -> Iterator[str]:
    """Yield the speeds as lines of a table: this program's, and llama-bench's beside them."""
    yield f"{'tokens a second':32}{'here':>12}{'llama-bench':>14}"
    for title, step in report["steps"].items():
        name, _, model = title.partition(" ")
        if name != "speed":
            continue
        beside = report["steps"].get(f"llama_bench {model}", {"rows": []})["rows"]
        for row in step["rows"]:
            key = (row["what"], row.get("slice"))
            theirs = [other["tokens_per_s"] for other in beside if (other["what"], other.get("slice")) == key]
            if row["what"] in {"prefill", "decode"}:
                what = f"{model} {row['what']}" + (f", {row['slice']} at once" if "slice" in row else "")
                yield f"{what:32}{row['tokens_per_s']:12,.1f}{theirs[0] if theirs else float('nan'):14,.1f}"


def arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="the whole run takes no longer")
    parser.add_argument("--dry", action="store_true", help="on the CPU with tiny dimensions")
    parser.add_argument("--built", type=Path, default=ROOT / "build/gpu", help="the folder that build.sh made")
    parser.add_argument("--output", type=Path, default=ROOT / "build/gpu/result.json")
    parser.add_argument("--folder", type=Path, help="for the models; by default in memory, or where temporary files go")
    parser.add_argument("--trace", type=Path, help="an editing trace; by default this program's own source, typed")
    parser.add_argument("--first", type=int, default=0, help="the first edit of the trace")
    parser.add_argument("--vocabulary", type=Path, help="a GGUF file with StarCoder2's vocabulary")
    return parser.parse_args()


def main() -> None:
    """Run and print."""
    asked, deadline_s = arguments(), time.monotonic()
    deadline_s += asked.minutes * 60
    with (
        tempfile.TemporaryDirectory(prefix="slsp-", dir=asked.folder or environment.roomy_folder()) as name,
        tempfile.TemporaryDirectory() as libraries,  # where memory is a file system, it often allows no programs
    ):
        folder = Path(name)
        built = environment.unpack(asked.built, Path(libraries))
        trace = asked.trace or write_trace(ROOT / "starcoder_lsp/engine/gguf.py", folder / "typed.json")
        given = {
            "folder": name,
            "root": str(ROOT),
            "trace": str(trace.resolve()),
            "first": asked.first,
            "vocabulary": str(asked.vocabulary.resolve()) if asked.vocabulary else None,
            "programs": environment.programs(built),
        }
        run = Run(DRY, folder, asked.output, deadline_s, given, environment.for_children(ROOT, built))
        facts = {key: value for row in run.do(Step("machine", ("", ""), MACHINE_S, 0)) for key, value in row.items()}
        run.sizes = FULL if facts.get("can_offload") and not asked.dry else DRY
        if run.sizes is DRY:
            print(f"a dry run on the CPU: {'asked for' if asked.dry else 'llama.cpp finds no GPU'}", flush=True)
        run.report |= {"dry": run.sizes is DRY, "minutes": asked.minutes, "sizes": asdict(run.sizes)}
        run_all(run)
        run.report["seconds"] = round(asked.minutes * 60 - run.left_s, 1)
        run.write()
    print("\n".join(summary(run.report)))
    print(f"{asked.output}: {run.report['seconds']} s in all")


if __name__ == "__main__":
    main()
