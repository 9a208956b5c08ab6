"""The report of `starcoder-lsp doctor`: its lines in order, as text or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence

from attrs import asdict
from rich.console import Console
from rich.text import Text

from starcoder_lsp import __version__
from starcoder_lsp.cli.doctor.check import ERROR, OK, WARNING, Check, counted
from starcoder_lsp.cli.doctor.editors import check_editors, check_path
from starcoder_lsp.cli.doctor.engine import check_engine
from starcoder_lsp.cli.doctor.environment import check_folders, check_hosts, check_settings
from starcoder_lsp.cli.doctor.facts import Facts
from starcoder_lsp.cli.doctor.installation import check_crashes, check_gpu, check_library, check_programs
from starcoder_lsp.cli.doctor.model import check_memory, check_model, check_speed

CHECKS: tuple[Callable[[Facts], Iterator[Check]], ...] = (
    check_programs,
    check_library,
    check_crashes,
    check_gpu,
    check_engine,
    check_model,
    check_memory,
    check_speed,
    check_settings,
    check_folders,
    check_hosts,
    check_path,
    check_editors,
)
"""The checks in the order of the report."""
COLOURS = {OK: "green", WARNING: "yellow", ERROR: "bold red"}
N_STATE_COLUMNS = max(map(len, COLOURS)) + 2
N_NAME_COLUMNS = 18


def examine(facts: Facts) -> list[Check]:
    """Return the lines of the report."""
    return [line for check in CHECKS for line in _lines(check, facts)]


def _lines(check: Callable[[Facts], Iterator[Check]], facts: Facts) -> Iterator[Check]:
    """Run one check. What it may not read becomes a warning."""
    try:
        yield from check(facts)
    except OSError as error:
        name = check.__name__.removeprefix("check_")
        yield Check(name, WARNING, f"cannot be checked: {error}", "Check the permissions of that file or folder.")


def print_checks(checks: Sequence[Check], *, as_json: bool) -> None:
    """Print the report. Lines are not wrapped, so that commands can be pasted."""
    if as_json:
        print(json.dumps({"version": __version__, "platform": sys.platform, "checks": list(map(asdict, checks))}))
        return
    console = Console(highlight=False, soft_wrap=True)
    for check in checks:
        state = (check.state.ljust(N_STATE_COLUMNS), COLOURS[check.state])
        name = (check.name.ljust(N_NAME_COLUMNS), "bold")
        console.print(Text.assemble(state, name, visible(check.found)))
        for advice in check.advice.splitlines():
            console.print(Text(" " * N_STATE_COLUMNS + visible(advice)))
    n_errors, n_warnings = (sum(check.state == state for check in checks) for state in (ERROR, WARNING))
    console.print(f"\n{counted(n_errors, 'error', 'errors')}, {counted(n_warnings, 'warning', 'warnings')}")


def visible(text: str) -> str:
    """Return the text without control characters, which a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)
