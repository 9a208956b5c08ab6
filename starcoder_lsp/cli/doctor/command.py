"""`starcoder-lsp doctor`: report what works on this machine, what does not, and how to fix it.

`gather.py` gathers facts. `installation.py`, `model.py`, `environment.py` and `editors.py` turn them into lines, and
`report.py` puts the lines in order. Nothing is sent anywhere. The report shows paths, but no source text.
"""

from __future__ import annotations

import subprocess
import sys


def doctor(*, model: str | None, as_json: bool, measures_speed: bool, forgets_crashes: bool) -> int:
    """Write the report to standard output. Return 1 if it has an error, otherwise 0."""
    loading = start_loading()  # before the imports below, which take as long
    from rich.console import Console

    from starcoder_lsp.cli.doctor.check import ERROR
    from starcoder_lsp.cli.doctor.gather import gather
    from starcoder_lsp.cli.doctor.report import examine, print_checks

    console = Console(stderr=True)
    with console.status("measuring" if measures_speed else "checking") if console.is_terminal else console:
        facts = gather(loading, model, measures_speed=measures_speed, forgets_crashes=forgets_crashes)
        checks = examine(facts)
    print_checks(checks, as_json=as_json)
    return int(any(check.state == ERROR for check in checks))


def start_loading() -> subprocess.Popen[str]:
    """Start a process that loads llama.cpp and describes it. It gets the same environment as a host."""
    command = [sys.executable, "-m", "starcoder_lsp.engine.local.about"]
    return subprocess.Popen(  # noqa: S603  our own program
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )
