"""`starcoder-lsp stats gate`: show the gate's features and what it has learnt, or fit it to another model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import evolve
from rich.table import Table

from starcoder_lsp.cli import CommandError, coroutines, warn
from starcoder_lsp.cli.bench.eval import Ask, fill, pipeline
from starcoder_lsp.cli.bench.figures import model_file
from starcoder_lsp.cli.bench.holes import cut_holes, read_sources
from starcoder_lsp.cli.bench.pace import watching
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.cli.page import report_console
from starcoder_lsp.completion import Completion
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.loading import Listeners, opened
from starcoder_lsp.prompting import Model
from starcoder_lsp.session.gating import ready_of
from starcoder_lsp.settings import Settings
from starcoder_lsp.stats.gate import Gate, read_learnt, shipped, with_learnt
from starcoder_lsp.stats.gate_features import FEATURES, features_of
from starcoder_lsp.stats.gate_learning import N_FIT, fit_temperature, write_learnt
from starcoder_lsp.stats.model_hash import hash_of_model
from starcoder_lsp.stats.store import user_paths


def gate(
    *, resets: bool, paths: Sequence[Path] | None, n_holes: int, model: str | None, **_of_the_report: object
) -> int:
    """Show the gate for the configured model, forget what was learnt, or fit it."""
    file = user_paths().gate
    if resets:
        with suppress(FileNotFoundError):
            file.unlink()
        return 0
    settings = configured(model)
    model_hash = hash_of_model(model_file(settings).path)
    own = with_learnt(shipped(), model_hash, read_learnt(file))
    if paths is not None:
        own = _fitted(own, _seen(paths, n_holes, settings))
        try:
            user_paths().prepare()
            write_learnt(file, model_hash, own)
        except OSError as error:
            message = f"{file}: {error.strerror}"
            raise CommandError(message) from error
    _print(own)
    return 0


def _fitted(gate: Gate, seen: Sequence[tuple[float, bool]]) -> Gate:
    if len(seen) < N_FIT:
        message = f"only {len(seen)} holes got a suggestion, and {N_FIT} are needed: name more files, or raise --holes"
        raise CommandError(message)
    temperature, shift = fit_temperature(seen)
    n_right = sum(is_right for _, is_right in seen)
    warn(f"fitted to {len(seen)} suggestions, of which {n_right} were exactly right")
    return evolve(gate, temperature=temperature, shift=shift, is_fitted=True)


def _seen(paths: Sequence[Path], n_holes: int, settings: Settings) -> list[tuple[float, bool]]:
    """Fill holes; return of each suggestion the logit by the shipped weights, and whether it is right."""

    async def run() -> list[tuple[float, bool]]:
        holes = cut_holes(read_sources(paths, settings, 0), n_holes, 0)
        seen = []
        async with opened(settings, Listeners(on_message=warn)) as model:
            ask = pipeline(Model.of(*model), settings)
            with watching(holes, len(holes), "filling holes") as each:
                for hole in each:
                    made: list[Completion] = []
                    filled = await fill(hole, partial(_noting, ask, made))
                    ready = ready_of(made[0])
                    if ready is not None:
                        seen.append((shipped().prior_logit(features_of(ready)), filled.is_exact))
        return seen

    try:
        return coroutines.run(run())
    except EngineError as error:
        raise CommandError(str(error)) from error


async def _noting(
    ask: Ask, made: list[Completion], snapshot: Snapshot, cursor_byte: int, around: WorkspaceContext
) -> Completion:
    made.append(await ask(snapshot, cursor_byte, around))
    return made[-1]


def _print(gate: Gate) -> None:
    table = Table(title="What the gate looks at", title_justify="left")
    for name in ("feature", "weight", "learnt here", "a deviation more changes the odds by"):
        table.add_column(name, justify="left" if name == "feature" else "right")
    rows = list(zip(FEATURES, gate.weights, gate.moved, strict=True))
    for name, weight, moved in sorted(rows, key=lambda row: -abs(row[1] / gate.temperature + row[2])):
        total = weight / gate.temperature + moved
        table.add_row(name, f"{weight:+.3f}", f"{moved:+.3f}", f"{math.exp(total) - 1:+.0%}")
    console = report_console()
    console.print(table)
    fitted = "" if gate.is_fitted else "; it is not fitted to this model yet, and hides nothing"
    console.print(
        f"learnt from {gate.n_learnt:,} outcomes; temperature {gate.temperature:.2f}, shift {gate.shift:+.2f}{fitted}\n"
        f"completion.calm 1 hides what is less probable than {gate.threshold:.1%}; 0 hides nothing"
    )
