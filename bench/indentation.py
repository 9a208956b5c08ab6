"""Count the suggestions that have the file's indentation.

`python bench/indentation.py FOLDER... [--holes N] [--units tab,2,3,4,8]`.

Gives Python files another indentation, hides bodies of blocks, and requests suggestions of the real pipeline there. One
of several lines is right if Python's tokenizer finds each block in it one unit deeper than the block around it, and
each continuation line indented by units or aligned with a bracket. `--list` prints the others.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from attrs import evolve, frozen

from starcoder_lsp.cli import warn
from starcoder_lsp.cli.bench.eval import pipeline
from starcoder_lsp.cli.bench.figures import machine
from starcoder_lsp.cli.bench.holes import Hole, Source, read_sources
from starcoder_lsp.cli.bench.pace import watching
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.loading import Listeners, opened
from starcoder_lsp.prompting import Model

MIN_BODY_LINES = 3
N_OLD_COLUMNS = 4
SKIPPED = (tokenize.NL, tokenize.COMMENT)


@frozen
class Answer:
    """A place, the suggestion there, and whether its lines are indented by `unit`; `None` for a single line."""

    unit: str
    place: str
    shown: str
    is_right: bool | None


def lines_by_depth(text: str) -> list[tuple[str, int, int, bool]]:
    """Return `(line, depth, first_line, is_text)` of each line: depth and first line of its statement.

    `is_text` for a line that begins inside a string. Raises `SyntaxError` for what Python cannot tokenize.
    """
    lines = text.split("\n")
    found: list[tuple[str, int, int, bool]] = [(line, 0, number, False) for number, line in enumerate(lines)]
    depth, first = 0, None
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            start, end = token.start[0] - 1, token.end[0] - 1
            depth += {tokenize.INDENT: 1, tokenize.DEDENT: -1}.get(token.type, 0)
            if token.type in (tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
                continue
            if first is None and token.type not in SKIPPED:
                first = start
            for number in range(start, min(end + 1, len(lines))):
                at = first if first is not None else number
                found[number] = (lines[number], depth, at, found[number][3] or number > start)
            if token.type == tokenize.NEWLINE:
                first = None
    except (tokenize.TokenError, IndentationError) as error:
        raise SyntaxError(str(error)) from error
    return found


def converted(text: str, unit: str) -> str:
    """Return Python that is indented by four columns with another unit."""
    written = []
    for number, (line, depth, first, is_text) in enumerate(lines_by_depth(text)):
        code = line.lstrip(" ")
        if is_text or not code:
            written.append(line)
        else:
            n_beyond = len(line) - len(code) - N_OLD_COLUMNS * depth if number > first else 0
            written.append(unit * (depth + max(0, n_beyond) // N_OLD_COLUMNS) + code)
    return "\n".join(written)


def is_right(text: str, first_line: int, last_line: int, unit: str) -> bool:
    """Return whether the lines of a file are indented by `unit`."""
    try:
        lines = lines_by_depth(text)
    except SyntaxError:
        return False
    for number in range(first_line, last_line + 1):
        line, depth, first, is_text = lines[number]
        code = line.lstrip(" \t")
        blank = line[: len(line) - len(code)]
        if is_text or not code:
            continue
        if code.startswith("#"):  # the tokenizer gives comments no depth
            right = blank == unit * (len(blank) // len(unit))
        elif number == first:
            right = blank == unit * depth
        elif unit == "\t":
            right = blank.strip("\t") == "" and len(blank) >= depth
        else:
            beyond = len(blank) - len(unit) * depth
            columns = {column + 1 for column, sign in enumerate(lines[number - 1][0]) if sign in "([{"}
            right = "\t" not in blank and beyond >= 0 and (beyond % len(unit) == 0 or len(blank) in columns)
        if not right:
            return False
    return True


def places_in(folder: Path, unit: str, n_holes: int, seed: int) -> Iterator[Hole]:
    """Yield bodies of blocks, hidden behind their header or behind the indentation of their first line."""
    rng = Random(f"{seed} {folder.name}")  # noqa: S311  not a secret
    sources = [each for each in read_sources([folder], configured(None, []), seed) if each.path.suffix == ".py"]
    rng.shuffle(sources)
    n_found = 0
    for source in sources:
        hole = _body_in(source, unit, rng) if n_found < n_holes else None
        if hole is not None:
            n_found += 1
            yield hole


def _body_in(source: Source, unit: str, rng: Random) -> Hole | None:
    text = source.snapshot.text.data.decode()
    try:
        if "\t" in text or converted(text, " " * N_OLD_COLUMNS) != text:
            return None
        text = converted(text, unit)
        lines = lines_by_depth(text)
    except SyntaxError:
        return None
    heads = [
        number
        for number, (line, depth, first, is_text) in enumerate(lines[:-MIN_BODY_LINES])
        if line.endswith(":")
        and not is_text
        and first == number
        and all(below[1] > depth for below in lines[number + 1 : number + 1 + MIN_BODY_LINES])
        and not lines[number + 1][0].lstrip().startswith(('"', "'", "#"))
    ]
    if not heads:
        return None
    head = rng.choice(heads)
    if not any(depth for number, (_, depth, *_) in enumerate(lines) if number < head):
        return None  # what is left of the file shows no indentation
    last = head
    while last + 1 < len(lines) and (lines[last + 1][1] > lines[head][1] or not lines[last + 1][0].strip()):
        last += 1
    first = lines[head + 1][0]
    begun = "\n" + first[: len(first) - len(first.lstrip())] if rng.random() < 1 / 2 else ""
    before = "\n".join(line for line, *_ in lines[: head + 1]) + begun
    after = "\n" + "\n".join(line for line, *_ in lines[last + 1 :])
    return Hole("block", source.root, source.path, before, text[len(before) : len(text) - len(after)], after)


async def answer(hole: Hole, unit: str, ask: object) -> Answer:
    """Request a suggestion at a place, and judge it."""
    asked = hole.snapshot("")
    completion = await ask(asked, len(hole.before.encode()), WorkspaceContext(None))  # type: ignore[operator]
    shown, first = completion.text, hole.before.count("\n")
    text = hole.before + shown + hole.after
    is_judged = shown.strip().count("\n") > 0 or (shown.startswith("\n") and bool(shown.strip()))
    right = is_right(text, first + 1, first + shown.count("\n"), unit) if is_judged else None
    return Answer(repr(unit), f"{hole.path}:{first + 1}", shown, right)


async def answers(
    folders: Sequence[Path], units: Sequence[str], n_holes: int, seed: int, model: str | None
) -> list[Answer]:
    """Request suggestions in all folders, in each unit."""
    settings = configured(model, ["context.maxTokens=512", "context.maxSnippetTokens=0"])
    settings = evolve(settings, completion=evolve(settings.completion, timeout_ms=60_000))
    holes = [(hole, unit) for unit in units for folder in folders for hole in places_in(folder, unit, n_holes, seed)]
    async with opened(settings, Listeners(on_message=warn)) as parts:
        ask = pipeline(Model.of(*parts), settings)
        with watching(holes, len(holes), "asking") as each:
            return [await answer(hole, unit, ask) for hole, unit in each]


def main() -> None:
    """Cut, ask, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--holes", type=int, default=6, help="in each folder and unit")
    parser.add_argument("--units", default="tab,2,3,4,8")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model")
    parser.add_argument("--list", action="store_true", help="print what is not indented like the file")
    options = parser.parse_args()
    units = ["\t" if name == "tab" else " " * int(name) for name in options.units.split(",")]
    found = asyncio.run(answers(options.folders, units, options.holes, options.seed, options.model))
    report: dict[str, object] = {"machine": machine()}
    for unit in units:
        own = [each for each in found if each.unit == repr(unit)]
        judged = [each.is_right for each in own if each.is_right is not None]
        report[repr(unit)] = {
            "places": len(own),
            "shown": sum(bool(each.shown) for each in own),
            "ofSeveralLines": len(judged),
            "right": sum(judged),
        }
    print(json.dumps(report, indent=1))
    if options.list:
        for each in found:
            if each.is_right is False:
                print(each.unit, each.place, each.shown, sep="\n")


if __name__ == "__main__":
    main()
