"""The holes that `evaluate.py` measures, from a cursor to its line's end; and the held-out files they are cut from.

Three kinds: `rest_of_line` (a cursor anywhere at or after the first non-blank character), `whole_line` (a cursor at
column 0; the indentation must be guessed too) and `mid_word` (a cursor between two characters of a word). Lines that
are blank or only a comment are left out; lines of docstrings are not. Holes by syntax are in `syntax_holes.py`, those
that need another file in `cross_file.py`, the holes of the training in `samples.py`.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

INSIDE_WORD = re.compile(r"(?<=\w)(?=\w)")


@dataclass(frozen=True)
class SourceFile:
    """A held-out file. `language` is an LSP language id."""

    package: str
    path: str
    text: str
    language: str = "python"


@dataclass(frozen=True)
class Hole:
    """A file's text around a cursor, cut in three; `middle` is what is to be guessed."""

    prefix: str
    middle: str
    suffix: str


def read_held_out(path: Path) -> list[SourceFile]:
    """Read rows of package, path, text and language; a row without a language is Python."""
    return [SourceFile(*row) for row in json.loads(path.read_text("utf-8"))]


def cut(text: str, cursor: int) -> Hole:
    """Make the hole from `cursor` to the end of its line."""
    end = text.find("\n", cursor)
    end = len(text) if end < 0 else end
    return Hole(text[:cursor], text[cursor:end], text[end:])


def rest_of_line(line: str, rng: random.Random) -> int | None:
    """Draw a column from the first non-blank character to the last one."""
    return rng.randrange(len(line) - len(line.lstrip()), len(line.rstrip()))


def whole_line(line: str, rng: random.Random) -> int | None:  # noqa: ARG001
    """Choose column 0."""
    return 0


def mid_word(line: str, rng: random.Random) -> int | None:
    """Draw a column between two characters of a word; None if all words are of one character."""
    columns = [match.start() for match in INSIDE_WORD.finditer(line)]
    return rng.choice(columns) if columns else None


KINDS: dict[str, Callable[[str, random.Random], int | None]] = {
    "rest_of_line": rest_of_line,
    "whole_line": whole_line,
    "mid_word": mid_word,
}


def pick_holes(texts: Sequence[str], kind: str, n_holes: int, seed: int, comment: str | None = "#") -> list[Hole]:
    """Draw holes of `kind`, every line of code in `texts` as likely as every other; `comment` begins what is none."""
    rng = random.Random(f"{kind} {seed}")
    places: list[tuple[str, int, str]] = []
    for text in texts:
        start = 0
        for line in text.split("\n"):
            if line.strip() and not (comment and line.lstrip().startswith(comment)):
                places.append((text, start, line))
            start += len(line) + 1
    holes: list[Hole] = []
    for text, start, line in rng.sample(places, len(places)):
        if len(holes) == n_holes:
            break
        column = KINDS[kind](line, rng)
        if column is not None:
            holes.append(cut(text, start + column))
    return holes
