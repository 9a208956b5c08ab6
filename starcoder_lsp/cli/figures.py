"""What every report of `starcoder-lsp bench` needs: percentiles, the machine, a model file and a page to print on."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.cli.demo import PAGE_COLUMNS
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.loading import model_path
from starcoder_lsp.engine.model_file import ModelFile, check_model_file

T = TypeVar("T")


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of at least one value."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def machine() -> dict[str, Any]:
    """The processor's name, and how many logical cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": next(names, platform.processor() or platform.machine()), "cores": n_cores}


def model_file(model: str | None) -> ModelFile:
    """The given model file, or the configured one, checked. Raises `CommandError`."""
    try:
        return check_model_file(model_path(configured(model)))
    except EngineError as error:
        raise CommandError(str(error)) from error


def page() -> Console:
    """Standard output; in a file or a pipe nothing is wrapped, however narrow the terminal is."""
    return Console(width=None if sys.stdout.isatty() else PAGE_COLUMNS)


def watched(items: Iterable[T], n_items: int, what: str) -> Iterable[T]:
    """The items, with a progress bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    return track(items, what, n_items, console=console, transient=True, disable=not console.is_terminal)
