"""Count suggestions that are not whole: `python bench/wholeness.py FOLDER... [--holes N] [--words N] [--json FILE]`.

Hides rests of lines in files that parse, and puts cursors inside words of files in which nothing is hidden. Requests
suggestions of the real pipeline there, and judges them by code that the filters do not share (`bench/judges.py`). Each
folder gets the same number of places. `--list` prints the suggestions judged bad.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import fmean

from attrs import asdict, frozen
from judges import doubles_a_word, loops, n_faults  # beside this script

from starcoder_lsp.cli import warn
from starcoder_lsp.cli.bench.eval import pipeline
from starcoder_lsp.cli.bench.figures import machine
from starcoder_lsp.cli.bench.holes import Hole, Source, code_lines, read_sources, rest_of_line
from starcoder_lsp.cli.bench.pace import watching
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.documents.documents import language_of
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.loading import Listeners, opened
from starcoder_lsp.percentile import percentile
from starcoder_lsp.prompting import Model

REST, WORD = "rest of line", "inside a word"
WORDS = re.compile(r"[^\W\d]\w{2,}")


@frozen
class Judged:
    """One place and the verdicts. All but the first four are `False` if nothing was shown."""

    kind: str
    language: str
    place: str
    shown: str
    is_exact: bool
    is_broken: bool
    doubles: bool
    loops: bool
    elapsed_ms: float
    postprocess_ms: float
    n_generated: int
    line: str
    stop_reason: str = ""


def places_in(folder: Path, language: str, n_holes: int, n_words: int, seed: int) -> list[Hole]:
    """Cut rests of lines, and put cursors inside words, in files of `folder` that parse."""
    rng = Random(f"{seed} {folder.name}")  # noqa: S311  not a secret
    sources = [each for each in read_sources([folder], configured(None, []), seed) if _is_sound(each, language)]
    lines = [(source, line) for source in sources for line in code_lines(source.snapshot)]
    rng.shuffle(lines)
    return [*_cut(lines, rest_of_line, n_holes, rng), *_cut(lines[::-1], _inside_word, n_words, rng)]


def _is_sound(source: Source, language: str) -> bool:
    found = language_of(source.snapshot)
    return found.id == language and n_faults(found, source.snapshot.text.data.decode()) == 0


def _cut(lines: Sequence[tuple[Source, int]], cut: object, n: int, rng: Random) -> Iterator[Hole]:
    n_cut = 0
    for source, line in lines:
        if n_cut == n:
            return
        hole = cut(source, line, rng)  # type: ignore[operator]
        if hole is not None:
            n_cut += 1
            yield hole


def _inside_word(source: Source, line: int, rng: Random) -> Hole | None:
    """Hide nothing: the cursor stands inside a word."""
    code = source.snapshot.text.line_text(line).decode()
    columns = [column for match in WORDS.finditer(code) for column in range(match.start() + 1, match.end())]
    if not columns:
        return None
    data, start = source.snapshot.text.data, source.snapshot.text.line_span(line)[0]
    at = start + len(code[: rng.choice(columns)].encode())
    return Hole(WORD, source.root, source.path, data[:at].decode(), "", data[at:].decode())


async def judge(hole: Hole, ask: object) -> Judged:
    """Request a suggestion at a place, and judge it."""
    asked = hole.snapshot(hole.closed)
    completion = await ask(asked, len(hole.before.encode()), WorkspaceContext(hole.root))  # type: ignore[operator]
    data, language = asked.text.data, language_of(asked)
    after = data[completion.end_byte :].decode()
    shown = completion.text
    text = hole.before + shown + after
    generation = completion.generation
    before_line = hole.before.rpartition("\n")[2]
    behind = data[len(hole.before.encode()) :].partition(b"\n")[0].decode()
    return Judged(
        kind=hole.kind,
        language=language.id,
        place=f"{hole.path}:{hole.before.count(chr(10)) + 1}:{len(before_line) + 1}",
        shown=shown,
        is_exact=bool(shown) and text[len(hole.before) : len(text) - len(hole.after)].rstrip() == hole.hidden,
        is_broken=bool(shown) and bool(n_faults(language, text)),
        doubles=bool(shown) and doubles_a_word(hole.before, shown, after),
        loops=bool(shown) and loops(hole.before, shown, after),
        elapsed_ms=completion.timings.total_ms,
        postprocess_ms=completion.timings.postprocess_ms,
        n_generated=generation.n_generated if generation else 0,
        line=f"{before_line}█{shown}│{after.partition(chr(10))[0]}   hidden: {hole.hidden} behind: {behind}",
        stop_reason=generation.written[0].stop_reason if generation else completion.reason,
    )


def summary(judged: Sequence[Judged]) -> dict[str, object]:
    """Return the figures of some places: shares of all places, and of the shown suggestions."""
    shown = [one for one in judged if one.shown]
    return {
        "places": len(judged),
        "shown": round(len(shown) / max(1, len(judged)), 4),
        "exact": round(fmean(one.is_exact for one in judged), 4) if judged else 0,
        "whole": round(1 - sum(one.is_broken for one in shown) / max(1, len(shown)), 4),
        "doubled": sum(one.doubles for one in shown),
        "loops": sum(one.loops for one in shown),
        "postprocessMsP50": round(percentile([one.postprocess_ms for one in judged], 0.5), 2),
        "postprocessMsP95": round(percentile([one.postprocess_ms for one in judged], 0.95), 2),
        "elapsedMsP50": round(percentile([one.elapsed_ms for one in judged], 0.5), 1),
        "newTokens": round(fmean(one.n_generated for one in judged), 1),
        "stops": dict(Counter(str(one.stop_reason) for one in judged).most_common(6)),
    }


async def judge_all(holes: Sequence[Hole], model: str | None, changes: Sequence[str]) -> list[Judged]:
    """Load the model and judge all places."""
    settings = configured(model, changes)
    async with opened(settings, Listeners(on_message=warn)) as parts:
        ask = pipeline(Model.of(*parts), settings)
        with watching(holes, len(holes), "asking") as each:
            return [await judge(hole, ask) for hole in each]


def main() -> None:
    """Cut, ask, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--language", default="python")
    parser.add_argument("--holes", type=int, default=20, help="rests of lines in each folder")
    parser.add_argument("--words", type=int, default=0, help="cursors inside words in each folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model")
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, help="write every place and verdict to a file")
    parser.add_argument("--list", action="store_true", help="print what was judged bad")
    options = parser.parse_args()
    holes = [
        hole
        for folder in options.folders
        for hole in places_in(folder, options.language, options.holes, options.words, options.seed)
    ]
    judged = asyncio.run(judge_all(holes, options.model, options.changes))
    groups = {kind: [one for one in judged if one.kind == kind] for kind in (REST, WORD)}
    report = {"machine": machine(), **{kind: summary(each) for kind, each in groups.items() if each}}
    print(json.dumps(report, indent=1))
    if options.list:
        for one in judged:
            verdicts = [n for n in ("is_broken", "doubles", "loops") if getattr(one, n)]
            if verdicts:
                print(f"{','.join(verdicts)} {one.stop_reason} {one.place}\n    {one.line}")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in judged], indent=1))


if __name__ == "__main__":
    main()
