"""`starcoder-lsp bench context FOLDER...`: measure on holes in real files how much each part of the prompt helps.

A hole hides the rest of a line from a random column on. The same holes are filled with (a) a window of lines only, (b)
a window by syntax, (c) that and snippets of other files. Holes whose hidden text has a name that is imported from
another file of the folder are reported apart.
"""

from __future__ import annotations

import difflib
import random
import time
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from attrs import evolve, frozen
from rich.table import Table

from starcoder_lsp.cli import CommandError, warn
from starcoder_lsp.cli.bench.figures import Report, machine
from starcoder_lsp.cli.bench.holes import WORD, Hole, Source, code_lines, hide_rest, read_sources
from starcoder_lsp.cli.bench.output import Output
from starcoder_lsp.cli.bench.pace import INTERRUPTED, Limits, run_interruptible, until_interrupted, watching
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.cli.place import is_folder
from starcoder_lsp.completion import complete
from starcoder_lsp.context.pinned import NAME
from starcoder_lsp.documents.documents import language_of
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.engine import Cancellation, EngineError, Prompt
from starcoder_lsp.engine.host.client import HostEngine
from starcoder_lsp.engine.loading import Listeners, opened
from starcoder_lsp.percentile import percentile
from starcoder_lsp.prompting import CompletionRequest, Model, build_prompt, choose_window
from starcoder_lsp.settings import Settings

MIN_BYTES = 2000
"""Shorter files are left out: the whole file is in the prompt in each case."""
INSIDE, ACROSS = "in the file", "across files"
MODES = {"lines": "(a) lines only", "syntax": "(b) by syntax", "files": "(c) with other files"}


@frozen
class Filled:
    """The result of one hole. `log_probability` is that of the whole hidden text, in nats."""

    is_exact: bool
    similarity: float
    log_probability: float
    n_prompt: int
    window_ms: float


def holes_in(folder: Path, settings: Settings, n_holes: int, seed: int) -> list[Hole]:
    """Return holes, up to half of them across files. Raises `CommandError` if the path is no folder."""
    if not is_folder(folder):
        message = f"{folder} is not a folder"
        raise CommandError(message)
    rng = random.Random(f"{folder.resolve().name} {seed}")  # noqa: S311  not a secret
    sources = [source for source in read_sources([folder], settings, seed) if language_of(source.snapshot).queries]
    names = {
        source.path: {scope.name.encode() for scope in source.snapshot.syntax.definitions()}
        for source in sources
        if source.snapshot.syntax is not None
    }
    places = []
    for source in sources:
        file = source.snapshot
        if len(file.text.data) < MIN_BYTES or file.syntax is None:
            continue
        elsewhere = set().union(*(defined for path, defined in names.items() if path != source.path))
        statements = file.syntax.imports()
        imported = {name for start, end in statements for name in NAME.findall(file.text.data[start:end])} & elsewhere
        of_imports = {file.text.line_of(start) for start, _ in statements}
        places += [(source, line, imported) for line in code_lines(file) if line not in of_imports]
    rng.shuffle(places)
    cut = [_cut(source, line, imported, rng) for source, line, imported in places]
    across = [hole for hole in cut if hole.kind == ACROSS][: n_holes // 2]
    return across + [hole for hole in cut if hole.kind == INSIDE][: n_holes - len(across)]


def _cut(source: Source, line: int, imported: set[bytes], rng: random.Random) -> Hole:
    code = source.snapshot.text.line_text(line).decode()
    uses = [match.start() for match in WORD.finditer(code) if match.group().encode() in imported]
    first = len(code) - len(code.lstrip())
    column = rng.randint(first, min(uses)) if uses else rng.randrange(first, len(code.rstrip()))
    return hide_rest(ACROSS if uses else INSIDE, source, line, column)


async def fill(hole: Hole, mode: str, model: Model, engine: HostEngine, settings: Settings) -> Filled:
    """Fill one hole, and measure the log-probability of its hidden text. Raises `EngineError`."""
    snapshot = hole.snapshot("")
    if mode == "lines":
        snapshot = evolve(snapshot, syntax=None)
    around = WorkspaceContext(hole.root) if mode == "files" else WorkspaceContext()
    fresh = evolve(model, anchors=type(model.anchors)())
    cursor_byte = len(hole.before.encode())
    started = time.perf_counter()
    window = choose_window(CompletionRequest(snapshot, cursor_byte, fresh, settings, around))
    window_ms = (time.perf_counter() - started) * 1000
    prompt = build_prompt(window, fresh)
    text = (await complete(CompletionRequest(snapshot, cursor_byte, fresh, settings, around), Cancellation())).text
    similarity = difflib.SequenceMatcher(None, text.rstrip(), hole.hidden, autojunk=False).ratio()
    await engine.forget()
    cost = await log_probability(model, engine, prompt, hole.hidden.encode())
    return Filled(text.rstrip() == hole.hidden, similarity, cost, len(prompt.ids), window_ms)


async def log_probability(model: Model, engine: HostEngine, prompt: Prompt, hidden: bytes) -> float:
    """Return the log-probability of `hidden` behind a prompt, in nats.

    The healed word and `hidden` are tokenized together. The healed word is given, so the first tokens are chosen among
    those that agree with it. This is a lower bound: it counts one of many ways to cut the text into tokens.
    """
    return sum(await engine.score(prompt, model.prompts.tokenizer.encode(prompt.heal + hidden)))


def summary(holes: Sequence[Hole], filled: Sequence[Filled], base: Sequence[Filled]) -> Report:
    """Return means over holes; `gain` is the mean difference in log-probability to `base`, hole by hole."""
    if not holes:
        return {"holes": 0}
    n_characters = sum(len(hole.hidden) for hole in holes)
    gains = [one.log_probability - other.log_probability for one, other in zip(filled, base, strict=True)]
    return {
        "holes": len(holes),
        "exact": round(fmean(one.is_exact for one in filled), 4),
        "similarity": round(fmean(one.similarity for one in filled), 4),
        "logProbabilityPerCharacter": round(sum(one.log_probability for one in filled) / n_characters, 4),
        "gainNatsPerHole": round(fmean(gains), 3),
        "gainStandardError": round(pstdev(gains) / len(gains) ** 0.5, 3),
        "promptTokensMean": round(fmean(one.n_prompt for one in filled), 1),
        "windowMsP50": round(percentile([one.window_ms for one in filled], 0.5), 2),
        "windowMsP95": round(percentile([one.window_ms for one in filled], 0.95), 2),
    }


def bench_context(  # noqa: PLR0913  # one for each option of the command
    folders: Sequence[Path],
    *,
    n_holes: int,
    n_tokens: int,
    seconds: float | None,
    model: str | None,
    seed: int,
    **shown: Any,
) -> int:
    """Fill `n_holes` of each folder in each way, with windows of `n_tokens`, and write the report.

    `shown` is what `Output.of` takes.
    """
    output, limits = Output.of("context", **shown), Limits(0, None).with_options(None, seconds)
    if n_holes < 1:
        message = "at least one hole is needed"
        raise CommandError(message)
    settings = configured(model)
    settings = evolve(
        settings,
        completion=evolve(settings.completion, multiline="never", max_tokens=48),
        context=evolve(settings.context, max_tokens=n_tokens, max_prefill_ms=120_000),
    )
    in_turn = zip_longest(*(holes_in(folder, settings, n_holes, seed) for folder in folders))
    holes = [hole for of_each in in_turn for hole in of_each if hole is not None]
    if not holes:
        message = "no source files of 2,000 bytes or more in a language with queries are there"
        raise CommandError(message)
    try:
        with watching(holes, evolve(limits, n_items=len(holes)), "filling") as watched:
            name, filled = run_interruptible(fill_all(watched, settings))
    except EngineError as error:
        raise CommandError(str(error)) from error
    holes = holes[: len(filled["lines"])]
    report = {
        "end": watched.end,
        "folders": [folder.name for folder in folders],
        "machine": machine(),
        "model": name,
        "contextTokens": n_tokens,
        "kinds": {kind: _of_kind(holes, filled, kind) for kind in (INSIDE, ACROSS)},
    }
    output.write(report, table_of)
    return INTERRUPTED if watched.is_interrupted else 0


async def fill_all(holes: Iterable[Hole], settings: Settings) -> tuple[str, dict[str, list[Filled]]]:
    """Return the model's name, and the results of each way. Raises `EngineError`."""
    filled: dict[str, list[Filled]] = {mode: [] for mode in MODES}
    async with opened(settings, Listeners(on_message=warn)) as (prompts, engine):
        model = Model.of(prompts, engine)
        with until_interrupted():
            for hole in holes:
                results = [await fill(hole, mode, model, engine, settings) for mode in filled]
                for mode, result in zip(filled, results, strict=True):
                    filled[mode].append(result)
    return prompts.name, filled


def _of_kind(holes: Sequence[Hole], filled: dict[str, list[Filled]], kind: str) -> Report:
    chosen = [index for index, hole in enumerate(holes) if hole.kind == kind]
    base = [filled["lines"][index] for index in chosen]
    return {
        mode: summary([holes[index] for index in chosen], [results[index] for index in chosen], base)
        for mode, results in filled.items()
    }


def table_of(report: Report) -> Table:
    """Return the report as a table for a terminal."""
    table = Table(
        title="The rest of a line, hidden from real files, by what the model sees",
        caption=f"{', '.join(report['folders'])}; {report['model']}; {report['contextTokens']} tokens of text;"
        f" {report['end'] or 'all holes'}; gain: nats of log-probability a hole more than with lines only,"
        " and its standard error",
        caption_justify="left",
    )
    for name in ("holes", "context"):
        table.add_column(name)
    for name in (
        "number",
        "exact",
        "similarity",
        "log-prob a character",
        "gain",
        "prompt tokens",
        "ms, p50",
        "ms, p95",
    ):
        table.add_column(name, justify="right")
    for kind, modes in report["kinds"].items():
        for mode, row in modes.items():
            if row["holes"]:
                table.add_row(
                    kind,
                    MODES[mode],
                    f"{row['holes']:,}",
                    f"{row['exact']:.1%}",
                    f"{row['similarity']:.3f}",
                    f"{row['logProbabilityPerCharacter']:.3f}",
                    f"{row['gainNatsPerHole']:+.2f} ± {row['gainStandardError']:.2f}",
                    f"{row['promptTokensMean']:,.0f}",
                    f"{row['windowMsP50']}",
                    f"{row['windowMsP95']}",
                )
    return table
