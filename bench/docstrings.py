"""Count the docstrings suggested in place of bodies: `python bench/docstrings.py FOLDER... [--holes N]`.

Hides the bodies of Python functions, and requests suggestions of the real pipeline behind their headers. Counts the
suggestions that begin with a docstring and the functions that had one, separately for files of which most other
functions have one.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
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

QUOTES = ('"', "'", 'r"', "r'", 'f"')


@frozen
class Offer:
    """A function whose body is hidden: whether it and most others of its file have docstrings, and what is shown."""

    hole: Hole
    had_one: bool
    most_have: bool
    shown: str = ""

    @property
    def is_docstring(self) -> bool:
        """Return whether a docstring is offered."""
        return self.shown.lstrip().startswith(QUOTES)


def functions_in(folder: Path, n_holes: int, seed: int) -> Iterator[Offer]:
    """Yield functions of a folder, at most one of each file."""
    rng = Random(f"{seed} {folder.name}")  # noqa: S311  not a secret
    sources = [each for each in read_sources([folder], configured(None, []), seed) if each.path.suffix == ".py"]
    rng.shuffle(sources)
    found = (_function_in(source, rng) for source in sources)
    for number, offer in enumerate(each for each in found if each is not None):
        if number == n_holes:
            return
        yield offer


def _function_in(source: Source, rng: Random) -> Offer | None:
    text = source.snapshot.text.data.decode()
    try:
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    except (SyntaxError, ValueError):
        return None
    lines = text.split("\n")
    nodes = [
        node for node in nodes if node.body[0].lineno > node.lineno and lines[node.body[0].lineno - 2].endswith(":")
    ]
    if len(nodes) < 2:  # noqa: PLR2004  one, and others to compare with
        return None
    node = rng.choice(nodes)
    others = [ast.get_docstring(other) is not None for other in nodes if other is not node]
    first, last = node.body[0].lineno - 1, node.end_lineno or node.lineno
    before, after = "\n".join(lines[:first]), "\n" + "\n".join(lines[last:])
    hole = Hole("body", source.root, source.path, before, text[len(before) : len(text) - len(after)], after)
    return Offer(hole, ast.get_docstring(node) is not None, sum(others) * 2 >= len(others))


async def offers(folders: Sequence[Path], n_holes: int, seed: int, model: str | None) -> list[Offer]:
    """Request a suggestion behind each header."""
    settings = configured(model, ["context.maxTokens=512", "context.maxSnippetTokens=0"])
    settings = evolve(settings, completion=evolve(settings.completion, timeout_ms=60_000))
    places = [each for folder in folders for each in functions_in(folder, n_holes, seed)]
    async with opened(settings, Listeners(on_message=warn)) as parts:
        ask = pipeline(Model.of(*parts), settings)
        found = []
        with watching(places, len(places), "asking") as watched:
            for place in watched:
                hole = place.hole
                completion = await ask(hole.snapshot(""), len(hole.before.encode()), WorkspaceContext(None))
                found.append(evolve(place, shown=completion.text))
    return found


def summary(found: Sequence[Offer]) -> dict[str, int]:
    """Return the counts of some functions."""
    return {
        "functions": len(found),
        "shown": sum(bool(each.shown) for each in found),
        "docstringOffered": sum(each.is_docstring for each in found),
        "ofTheseHadOne": sum(each.is_docstring and each.had_one for each in found),
        "hadOne": sum(each.had_one for each in found),
    }


def main() -> None:
    """Cut, ask, count, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--holes", type=int, default=8, help="functions in each folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model")
    parser.add_argument("--list", action="store_true", help="print what is offered")
    options = parser.parse_args()
    found = asyncio.run(offers(options.folders, options.holes, options.seed, options.model))
    report = {
        "machine": machine(),
        "mostHaveOne": summary([each for each in found if each.most_have]),
        "mostHaveNone": summary([each for each in found if not each.most_have]),
    }
    print(json.dumps(report, indent=1))
    if options.list:
        for each in found:
            print(each.most_have, each.had_one, each.hole.before.rpartition("\n")[2], each.shown, sep="\n")


if __name__ == "__main__":
    main()
