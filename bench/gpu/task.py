"""The input of one step: its model, its limits, and the file for its rows."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from starcoder_lsp.engine.host.ladder import Caution, LadderFile
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.synthetic import synthetic_model
from starcoder_lsp.engine.synthetic_header import (
    Q4_0,
    Q8_0,
    SHAPES,
    Shape,
)

TINY = Shape(n_embd=256, n_layers=2, n_heads=2, n_kv_heads=1, n_ff=512, rope_base=1e6)
SHOWN = 180
"""The most characters of a row that are printed."""


@frozen
class Task:
    """One step's task. `sizes` are those of run.py."""

    step: str
    model: str
    weights: str
    sizes: dict[str, Any]
    folder: Path
    root: Path
    trace: Path
    first: int
    vocabulary: Path
    programs: dict[str, str]
    rows: Path
    soft_s: float
    """The time after which the step begins nothing new, on the monotonic clock."""

    @classmethod
    def of(cls, told: dict[str, Any], now_s: float) -> Task:
        """Read a task from the command line that run.py makes."""
        paths = {name: Path(told[name]) for name in ("folder", "root", "trace", "rows")}
        return cls(
            **told | paths | {"vocabulary": Path(told["vocabulary"] or DEMONSTRATOR), "soft_s": now_s + told["soft_s"]}
        )

    @property
    def is_late(self) -> bool:
        """Return whether the step must begin nothing new."""
        return time.monotonic() > self.soft_s

    @property
    def use_extra_buffers(self) -> bool:
        """Return whether llama.cpp may repack the weights; false if that crashed here before."""
        return LadderFile().caution("starcoder2") < Caution.PLAIN_WEIGHTS

    def row(self, what: str, **figures: Any) -> None:
        """Write a row of the report, and print it."""
        with self.rows.open("a") as file:
            file.write(json.dumps({"what": what} | figures) + "\n")
        spelled = ", ".join(f"{name} {value}" for name, value in figures.items())
        print(f"   {what}: {spelled}"[:SHOWN], flush=True)

    def model_file(self) -> Path:
        """Return the model's file; write it first if it is missing."""
        quantization = {each.name: each for each in (Q4_0, Q8_0)}[self.weights]
        shape = evolve({**SHAPES, "tiny": TINY}[self.model], quantization=quantization)
        started = time.perf_counter()
        before = set(self.folder.glob("*.gguf"))
        path = synthetic_model(f"{self.model}-{self.weights}", shape, self.vocabulary, self.folder, lambda _share: None)
        if path not in before:
            seconds, n_bytes = time.perf_counter() - started, path.stat().st_size
            self.row(
                "written",
                mib=round(n_bytes / 2**20),
                seconds=round(seconds, 2),
                mib_per_s=round(n_bytes / 2**20 / seconds),
            )
        return path

    def ask_gpu(self, query: str) -> str:
        """Return the answer of `nvidia-smi`, an empty string if it is not installed."""
        program = shutil.which("nvidia-smi")
        if program is None:
            return ""
        command = [program, f"--query-gpu={query}", "--format=csv,noheader"]
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            return f"nvidia-smi: {error}"
