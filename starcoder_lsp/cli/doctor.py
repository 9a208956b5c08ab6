"""`starcoder-lsp doctor`: what is right on this machine, what is not, and what to do about it.

`doctor_facts.py` gathers what there is to see, `doctor_checks.py` and `doctor_editors.py` make lines of it, and
`doctor_report.py` has them in their order. Nothing is sent anywhere, and no source text is shown; paths are.
"""

from __future__ import annotations

import subprocess
import sys


def doctor(*, model: str | None, as_json: bool, measures_speed: bool, forgets_crashes: bool) -> int:
    """Write the report to standard output; 1 if there is an error in it, otherwise 0."""
    loading = start_loading()  # first of all: the imports below take as long
    from rich.console import Console

    from starcoder_lsp.cli.doctor_checks import ERROR
    from starcoder_lsp.cli.doctor_facts import gather
    from starcoder_lsp.cli.doctor_report import examine, print_checks

    waits = Console(stderr=True)
    with waits.status("measuring" if measures_speed else "looking") if waits.is_terminal else waits:
        facts = gather(loading, model, measures_speed=measures_speed, forgets_crashes=forgets_crashes)
        checks = examine(facts)
    print_checks(checks, as_json=as_json)
    return int(any(check.state == ERROR for check in checks))


def start_loading() -> subprocess.Popen[str]:
    """Start a process that loads llama.cpp and says what it is. It gets the same environment as a host."""
    command = [sys.executable, "-m", "starcoder_lsp.engine.local.about"]
    return subprocess.Popen(  # noqa: S603  our own program
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )
