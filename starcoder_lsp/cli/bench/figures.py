"""Parts of every report of `eval` and `bench`: the machine, the model file, and output."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.page import report_console
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.loading import model_path
from starcoder_lsp.engine.model_file import ModelFile, check_model_file
from starcoder_lsp.settings import Settings

Report = dict[str, Any]


def machine() -> dict[str, Any]:
    """Return the processor's name, and how many logical cores this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": next(names, platform.processor() or platform.machine()), "cores": n_cores}


def model_file(settings: Settings) -> ModelFile:
    """Return the configured model file after its checks. Raises `CommandError`."""
    try:
        return check_model_file(model_path(settings))
    except EngineError as error:
        raise CommandError(str(error)) from error


def write_report(report: Report, table_of: Callable[[Report], Table], *, as_json: bool) -> None:
    """Write the report to standard output, as JSON or as a table. In a file or a pipe lines are not wrapped."""
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        report_console(highlight=True).print(table_of(report))
