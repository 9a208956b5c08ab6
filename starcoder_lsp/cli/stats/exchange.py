"""Exchange totals with a team, and take marks of tests: `starcoder-lsp stats export`, `merge` and `mark`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from starcoder_lsp.cli import CommandError, warn
from starcoder_lsp.cli.complete import write_out
from starcoder_lsp.cli.stats.command import totals_here, write_report
from starcoder_lsp.stats.history import RepositoryError
from starcoder_lsp.stats.marks import mark_tests
from starcoder_lsp.stats.source import StatsError
from starcoder_lsp.stats.store import user_paths
from starcoder_lsp.stats.totals import TotalsError, from_json, merged, to_json


def export(*, since: str | None, repositories: Sequence[Path] | None, **_of_the_report: object) -> int:
    """Write this machine's totals to standard output."""
    write_out(json.dumps(to_json(totals_here(since, repositories))))
    return 0


def merge(
    *, files: Sequence[Path], by: str | None, compare: Sequence[str] | None, form: str, **_of_the_report: object
) -> int:
    """Report on the totals of several people."""
    read = []
    for file in files:
        try:
            read.append(from_json(json.loads(file.read_text("utf-8"))))
        except OSError as error:
            message = f"{file}: {error.strerror}"
            raise CommandError(message) from error
        except TotalsError as error:
            message = f"{file}: {error}"
            raise CommandError(message) from error
        except (ValueError, RecursionError) as error:
            message = f"{file}: this is not JSON"
            raise CommandError(message) from error
    write_report(merged(read), by=by, compared=compare, form=form)
    return 0


def mark(*, what: str, verdict: str, repository: Path, **_of_the_report: object) -> int:
    """Record the result of tests on the current commit."""
    try:
        counts = mark_tests(user_paths(), repository, is_pass=verdict == "pass")
    except (RepositoryError, StatsError) as error:
        raise CommandError(str(error)) from error
    if not counts:
        warn(f"files were changed since the commit, so this mark of {what} does not count for it")
    return 0
