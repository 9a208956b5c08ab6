"""`starcoder-lsp eval PATH...`: measure the quality of suggestions in the user's own files, at places with known text.

Each hole gets a suggestion as in a file that was just opened, with the rest of its repository in view. Nothing is
cached from one hole to the next. Its parts work without the command: `cut_holes`, `fill` with any function that
completes, and `summary`.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean, pstdev

from attrs import evolve, frozen
from rich.table import Table

from starcoder_lsp.cli import CommandError, coroutines, warn
from starcoder_lsp.cli.bench.eval_page import page_of
from starcoder_lsp.cli.bench.figures import Report, machine, model_file, write_report
from starcoder_lsp.cli.bench.holes import BLOCK, INSIDE_LINE, MID_WORD, REST_OF_LINE, Hole, cut_holes, read_sources
from starcoder_lsp.cli.bench.pace import watching
from starcoder_lsp.cli.complete import configured, write_out
from starcoder_lsp.completion import Completion, complete
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.engine import Cancellation, EngineError
from starcoder_lsp.engine.loading import Listeners, opened
from starcoder_lsp.percentile import percentile
from starcoder_lsp.prompting import CompletionRequest, Model
from starcoder_lsp.settings import Settings

MIN_REPEATED_CHARACTERS = 4
"""A line with fewer characters may occur twice by chance."""
KINDS = ("all", REST_OF_LINE, MID_WORD, INSIDE_LINE, BLOCK)
COLUMNS = {
    "holes": ("holes", ","),
    "exact": ("exact\nmatch", ".1%"),
    "similarity": ("edit\nsimilarity", ".1%"),
    "withheld": ("withheld", ".1%"),
    "addsNoError": ("no new\nerror", ".1%"),
    "parsesAsBefore": ("parses\nas before", ".1%"),
    "repeatsNextLine": ("repeats\nnext line", ".1%"),
    "latencyMsP50": ("ms\np50", ",.0f"),
    "latencyMsP95": ("ms\np95", ",.0f"),
    "postprocessMsP95": ("filters\nms p95", ".2f"),
    "promptTokensMean": ("prompt\ntokens", ",.0f"),
    "generatedTokensMean": ("new\ntokens", ",.0f"),
}
"""The figures of a row, their names in the table, and their formats."""

Ask = Callable[[Snapshot, int, WorkspaceContext], Awaitable[Completion]]
"""Completes at a byte of a document."""


@frozen
class Filled:
    """The result of one hole. `text` is the shown suggestion, empty if it was withheld.

    `written` is the text between the two ends of the hole afterwards. `adds_no_error` compares with the file with its
    hole, `parses_as_before` with the complete file; both are `None` if nothing was shown or nothing can be parsed.
    """

    hole: Hole
    text: str
    written: str
    similarity: float
    adds_no_error: bool | None
    parses_as_before: bool | None
    elapsed_ms: float
    postprocess_ms: float
    n_prompt: int
    n_generated: int

    @property
    def is_exact(self) -> bool:
        """Return whether the file is as before, blanks at the end of the hole aside."""
        return bool(self.text) and self.written.rstrip() == self.hole.hidden

    @property
    def repeats_next_line(self) -> bool:
        """Return whether the suggestion repeats the line below the hole, and the hidden text does not."""
        below = next((line.strip() for line in self.hole.after.splitlines()[1:] if line.strip()), "")
        before = self.hole.before.rpartition("\n")[2]
        written, hidden = (
            [line.strip() for line in (before + text).splitlines()].count(below)
            for text in (self.written, self.hole.hidden)
        )
        return bool(self.text) and len(below) >= MIN_REPEATED_CHARACTERS and written > hidden


@frozen
class Way:
    """Settings, the model included, and their name in the report."""

    name: str
    settings: Settings


def pipeline(model: Model, settings: Settings) -> Ask:
    """Return the real pipeline, which begins each completion without cached state."""

    async def ask(snapshot: Snapshot, cursor_byte: int, around: WorkspaceContext) -> Completion:
        fresh = evolve(model, anchors=Anchors())
        completion = await complete(CompletionRequest(snapshot, cursor_byte, fresh, settings, around), Cancellation())
        if model.engine.cache is not None:
            await model.engine.cache.forget()
        return completion

    return ask


async def fill(hole: Hole, ask: Ask) -> Filled:
    """Complete a hole and judge the result. Raises `EngineError`."""
    asked = hole.snapshot(hole.closed)
    completion = await ask(asked, len(hole.before.encode()), WorkspaceContext(hole.root))
    data = asked.text.data
    applied = data[: completion.cursor_byte] + completion.text.encode() + data[completion.end_byte :]
    written = applied.decode()[len(hole.before) : -len(hole.after) or None]
    similarity, adds_no_error, parses_as_before = 0.0, None, None
    if completion.text:
        similarity = difflib.SequenceMatcher(None, written.rstrip(), hole.hidden, autojunk=False).ratio()
        found, wanted, seen = (_n_errors(each) for each in (hole.snapshot(written), hole.snapshot(hole.hidden), asked))
        if found is not None and wanted is not None and seen is not None:
            adds_no_error, parses_as_before = found <= seen, found <= wanted
    generation = completion.generation
    return Filled(
        hole=hole,
        text=completion.text,
        written=written,
        similarity=similarity,
        adds_no_error=adds_no_error,
        parses_as_before=parses_as_before,
        elapsed_ms=completion.timings.total_ms,
        postprocess_ms=completion.timings.postprocess_ms,
        n_prompt=generation.n_prompt if generation else 0,
        n_generated=generation.n_generated if generation else 0,
    )


def _n_errors(snapshot: Snapshot) -> int | None:
    """Return the number of syntax errors, `None` without a tree."""
    syntax = snapshot.syntax
    return syntax.error_count() if syntax is not None and syntax.tree is not None else None


def summary(filled: Sequence[Filled]) -> Report:
    """Return the figures of some holes: shares of all holes, and behind `withheld` shares of the shown ones."""
    if not filled:
        return {"holes": 0}
    shown = [one for one in filled if one.text]
    elapsed_ms = [one.elapsed_ms for one in filled]
    return {
        "holes": len(filled),
        "exact": _mean(one.is_exact for one in filled),
        "similarity": _mean(one.similarity for one in filled),
        "withheld": _mean(not one.text for one in filled),
        "addsNoError": _mean(one.adds_no_error for one in shown),
        "parsesAsBefore": _mean(one.parses_as_before for one in shown),
        "repeatsNextLine": _mean(one.repeats_next_line for one in shown),
        "latencyMsP50": round(percentile(elapsed_ms, 0.5), 1),
        "latencyMsP95": round(percentile(elapsed_ms, 0.95), 1),
        "postprocessMsP95": round(percentile([one.postprocess_ms for one in filled], 0.95), 2),
        "promptTokensMean": round(fmean(one.n_prompt for one in filled), 1),
        "generatedTokensMean": round(fmean(one.n_generated for one in filled), 1),
    }


def difference(first: Sequence[Filled], second: Sequence[Filled]) -> Report:
    """Return the mean differences of the second way to the first, hole by hole, with standard errors."""
    if not first:
        return {"holes": 0}
    exact = [two.is_exact - one.is_exact for one, two in zip(first, second, strict=True)]
    similarity = [two.similarity - one.similarity for one, two in zip(first, second, strict=True)]
    return {
        "holes": len(exact),
        "exact": round(fmean(exact), 4),
        "exactStandardError": round(pstdev(exact) / len(exact) ** 0.5, 4),
        "similarity": round(fmean(similarity), 4),
        "similarityStandardError": round(pstdev(similarity) / len(similarity) ** 0.5, 4),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not `None`, or `None`."""
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None


def evaluate(  # noqa: PLR0913  # one for each option of the command
    paths: Sequence[Path],
    *,
    n_holes: int,
    seed: int,
    model: str | None,
    changes: Sequence[str],
    against: Sequence[str],
    form: str,
) -> int:
    """Fill holes in one way, or in several to compare, and write the report. `form` is `"json"`, `"html"` or empty."""
    if n_holes < 1:
        message = "at least one hole is needed"
        raise CommandError(message)
    ways = ways_of(model, changes, against)
    files = [model_file(way.settings) for way in ways]
    holes = cut_holes(read_sources(paths, ways[0].settings, seed), n_holes, seed)
    if not holes:
        message = "there is nothing to hide: no line of code in a file that may be shown"
        raise CommandError(message)
    filled = [fill_all(holes, way) for way in ways]
    groups = {kind: [[one for one in each if kind in ("all", one.hole.kind)] for each in filled] for kind in KINDS}
    report: Report = {
        "paths": list(map(str, paths)),
        "seed": seed,
        "machine": machine(),
        "ways": [
            {
                "name": way.name,
                "model": {"name": file.name, "bytes": file.n_bytes},
                "kinds": {kind: summary(each[number]) for kind, each in groups.items()},
            }
            for number, (way, file) in enumerate(zip(ways, files, strict=True))
        ],
    }
    for number, way in enumerate(report["ways"][1:], 1):
        way["difference"] = {kind: difference(each[0], each[number]) for kind, each in groups.items()}
    if form == "html":
        write_out(page_of(report))
    else:
        write_report(report, table_of, as_json=form == "json")
    return 0


def ways_of(model: str | None, changes: Sequence[str], against: Sequence[str]) -> list[Way]:
    """Return the ways of the options: the first one, and one for each other model. Raises `CommandError`."""
    name = " ".join([*([Path(model).name] if model else []), *changes]) or "as configured"
    first = Way(name, configured(model, changes))
    if not against:
        return [first]
    other_changes = [spelled for spelled in against if "=" in spelled]
    other_models = [spelled for spelled in against if "=" not in spelled]
    ways = [first]
    for other in other_models or [model or ""]:
        name = " ".join([*([Path(other).name] if other and other_models else []), *other_changes])
        ways.append(Way(name, configured(other or None, [*changes, *other_changes])))
    return ways


def fill_all(holes: Sequence[Hole], way: Way) -> list[Filled]:
    """Load a way's model, fill the holes, and close the model. Raises `CommandError`."""

    async def run() -> list[Filled]:
        async with opened(way.settings, Listeners(on_message=warn)) as model:
            ask = pipeline(Model.of(*model), way.settings)
            with watching(holes, len(holes), f"filling, {way.name}") as each:
                return [await fill(hole, ask) for hole in each]

    try:
        return coroutines.run(run())
    except EngineError as error:
        raise CommandError(str(error)) from error


def table_of(report: Report) -> Table:
    """Return the report as a table for a terminal."""
    ways, cpu = report["ways"], report["machine"]
    models = ", ".join(dict.fromkeys(way["model"]["name"] for way in ways))
    table = Table(
        title="Suggestions where the text is known",
        caption=f"{', '.join(report['paths'])}; {models}; {cpu['cpu']}, {cpu['cores']} cores",
        caption_justify="left",
    )
    table.add_column("hidden")
    table.add_column("")
    for name, _ in COLUMNS.values():
        table.add_column(name, justify="right")
    for kind in KINDS:
        for way in ways:
            row = way["kinds"][kind]
            cells = (format(row[key], how) if row.get(key) is not None else "" for key, (_, how) in COLUMNS.items())
            table.add_row(kind, way["name"], *cells)
        for way in ways[1:]:
            gained = way["difference"][kind]
            if gained["holes"]:
                cells = (
                    f"{gained[key]:+.1%}\n± {gained[f'{key}StandardError']:.1%}" for key in ("exact", "similarity")
                )
                label = f"{way['name']} more" if ways[2:] else "the second more"
                table.add_row("", label, "", *cells, end_section=way is ways[-1])
    return table
