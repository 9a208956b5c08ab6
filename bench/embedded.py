"""Count the blocks suggested in pages of several languages.

`python bench/embedded.py FOLDER... [--holes N] [--ext vue,svelte]`.

Hides bodies of blocks in pages of several languages, or in files with blocks that end with a word, and requests a
suggestion of the real pipeline at the end of the line that begins the block. A block is a line with deeper lines below
and a closing sign or word at its own depth behind them. `--without-model` counts the places alone. `--time` measures
the milliseconds to find the language at a cursor, by the page's size.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from attrs import evolve, frozen
from judges import n_faults  # beside this script

from starcoder_lsp.cli import warn
from starcoder_lsp.cli.bench.eval import pipeline
from starcoder_lsp.cli.bench.figures import machine
from starcoder_lsp.cli.bench.holes import Hole
from starcoder_lsp.cli.bench.pace import watching
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.documents.documents import Documents, Snapshot, language_of
from starcoder_lsp.documents.embedded import embedded_at
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.loading import Listeners, opened
from starcoder_lsp.prompting import Model
from starcoder_lsp.suggestions.cursor_context import describe_cursor

CLOSING = re.compile(r"\s*(?:[)}\]]|end\b|fi\b|done\b|esac\b|</)")
MAX_BODY_LINES = 12
MAX_FILE_BYTES = 100_000
SIZES = (10_000, 100_000, 250_000)


@frozen
class Asked:
    """A block, the languages of its page and of the cursor, and the suggestion there."""

    host: str
    language: str
    hole: Hole
    is_wanted: bool
    """True if the pipeline requests a block there."""
    shown: str = ""
    is_sound: bool = False

    @property
    def is_block(self) -> bool:
        """Return whether several lines are shown."""
        return "\n" in self.shown.strip() or (self.shown.startswith("\n") and bool(self.shown.strip()))


def blocks_in(folder: Path, extension: str, n_holes: int, seed: int) -> Iterator[Asked]:
    """Yield blocks of the files of a folder, at most three of each file."""
    rng = Random(f"{seed} {folder.name} {extension}")  # noqa: S311  not a secret
    files = sorted(path for path in folder.rglob(f"*.{extension}") if path.is_file())
    rng.shuffle(files)
    n_found = 0
    for path in files:
        if path.stat().st_size > MAX_FILE_BYTES:
            continue
        text = path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
        found = list(_blocks_of(path, text))
        for asked in rng.sample(found, min(3, len(found))):
            if n_found == n_holes:
                return
            n_found += 1
            yield asked


def _blocks_of(path: Path, text: str) -> Iterator[Asked]:
    lines = text.split("\n")
    snapshot, at = _opened(path, text), 0
    for number, line in enumerate(lines):
        at += len(line.encode()) + 1
        last = number
        while last + 1 < len(lines) and (_depth(lines[last + 1]) > _depth(line) or not lines[last + 1].strip()):
            last += 1
        is_short = number < last <= number + MAX_BODY_LINES
        if not line.strip() or not is_short or last + 1 >= len(lines) or CLOSING.match(line):
            continue
        if not (CLOSING.match(lines[last + 1]) and _depth(lines[last + 1]) == _depth(line)):
            continue
        host, language = language_of(snapshot), language_of(embedded_at(snapshot, at - 1).snapshot)
        before, after = "\n".join(lines[: number + 1]), "\n" + "\n".join(lines[last + 2 :])
        hidden = text[len(before) : len(text) - len(after)]
        hole = Hole("block", None, path, before, hidden, after)
        cursor = describe_cursor(_opened(path, before + after), len(before.encode()), "auto")
        yield Asked(host.id, language.id, hole, not cursor.one_line)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _opened(path: Path, text: str) -> Snapshot:
    return Documents().open(path.as_uri(), "", 1, text)


def _n_faults(path: Path, text: str, at: int) -> int:
    """Return the errors of the language at a byte, in the whole page."""
    place = embedded_at(_opened(path, text), at).snapshot
    return n_faults(language_of(place), place.text.data.decode()) or 0


async def ask_all(places: Sequence[Asked], model: str | None) -> list[Asked]:
    """Request a suggestion at each place. It is sound if the cursor's language has no more errors than in the file."""
    settings = configured(model, ["context.maxTokens=512", "context.maxSnippetTokens=0"])
    settings = evolve(settings, completion=evolve(settings.completion, timeout_ms=60_000))
    async with opened(settings, Listeners(on_message=warn)) as parts:
        ask, found = pipeline(Model.of(*parts), settings), []
        with watching(places, len(places), "asking") as watched:
            for place in watched:
                hole = place.hole
                at = len(hole.before.encode())
                completion = await ask(_opened(hole.path, hole.before + hole.after), at, WorkspaceContext(None))
                text = hole.before + completion.text + hole.after
                was = _n_faults(hole.path, hole.before + hole.hidden + hole.after, at)
                is_sound = _n_faults(hole.path, text, at) <= was
                found.append(evolve(place, shown=completion.text, is_sound=is_sound))
    return found


def times() -> dict[str, float]:
    """Return the milliseconds to find the language at the end of a page, by the page's size."""
    row = '<p class="a" @click="f(a)">{{ b }} and some text</p>\n'
    found = {}
    for n_bytes in SIZES:
        page = row * (n_bytes // len(row)) + "<script>\nlet a = 1\n</script>\n"
        snapshots = [_opened(Path("/page.vue"), page + " " * n) for n in range(5)]
        embedded_at(snapshots[0], 0)
        started = time.thread_time()  # of this thread alone: other work does not count
        for snapshot in snapshots:
            embedded_at(snapshot, len(page) - len("\n</script>\n"))
        found[str(n_bytes)] = round((time.thread_time() - started) * 1000 / len(snapshots), 2)
    return found


def main() -> None:
    """Cut, ask, count, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--ext", default="vue,svelte,html,astro,erb,php,md")
    parser.add_argument("--holes", type=int, default=6, help="in each folder, for each extension")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--without-model", action="store_true")
    parser.add_argument("--list", action="store_true", help="print what is shown")
    options = parser.parse_args()
    extensions = options.ext.split(",")
    places = [
        asked
        for extension in extensions
        for folder in options.folders
        for asked in blocks_in(folder, extension, options.holes, options.seed)
    ]
    is_run = places and not options.without_model
    found = asyncio.run(ask_all(places, options.model)) if is_run else places
    report: dict[str, object] = {"machine": machine()}
    if options.time:
        report["ms"] = times()
    for kind in dict.fromkeys((each.host, each.language) for each in found):
        own = [each for each in found if (each.host, each.language) == kind]
        report["/".join(dict.fromkeys(kind))] = {
            "places": len(own),
            "blockWanted": sum(each.is_wanted for each in own),
            "shown": sum(bool(each.shown) for each in own),
            "blocks": sum(each.is_block for each in own),
            "blocksSound": sum(each.is_block and each.is_sound for each in own),
        }
    print(json.dumps(report, indent=1))
    if options.list:
        for each in found:
            print(f"== {each.hole.path}\n{each.hole.before.rpartition(chr(10))[2]}█{each.shown}│ {each.is_sound}")


if __name__ == "__main__":
    main()
