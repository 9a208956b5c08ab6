"""Holes that need another file: a line that uses a name which only another file of the package defines.

What the two files have to do with each other is seen by the file's own import statements, or by a common folder.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from demo_model.holes import Hole, SourceFile, cut
from demo_model.syntax_holes import nodes_of
from starcoder_lsp.documents.languages import language_for
from starcoder_lsp.documents.syntax import Syntax
from starcoder_lsp.documents.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOLES_A_FILE = 3
WORD = re.compile(r"[^\W\d]\w*")
DISTINCT = re.compile(r"(?=\w{4})\w+(_|[A-Z])\w*|[A-Z]\w{3,}|\w{8,}")
"""Names of several words, of types, or long ones: others are mostly other things of the same name."""
KINDS = {"function", "class", "type"}
"""Kinds of definitions: a constant's name is a local variable's elsewhere."""
IDENTIFIER = re.compile(r"identifier$|^(name|constant|word)$")
"""Types of the leaves of a tree that are names: not those of comments and strings."""
STANDS_FOR_FOLDER = {"index", "__init__", "mod", "lib", "main"}


@dataclass(frozen=True)
class CrossFileHole:
    """A whole line of `file` that uses `name`, which begins at `defined_at` in `other`; `unrelated` has no part in it.

    Offsets are characters.
    """

    hole: Hole
    file: SourceFile
    name: str
    other: SourceFile
    defined_at: int
    unrelated: SourceFile | None


@dataclass(frozen=True)
class Survey:
    """One file: the character where each name is defined, at the file's own level and in its classes; its names."""

    file: SourceFile
    defined: dict[str, int]
    used: list[tuple[int, str]]
    """Starts of lines, in bytes, and the distinct names on them, import statements aside."""
    imported_words: frozenset[str]

    @classmethod
    def of(cls, file: SourceFile) -> Survey:
        """Look at a file."""
        text = Text.from_str(file.text)
        syntax, data = Syntax.parse_fresh(language_for(file.language, file.path), text), text.data
        defined = {
            scope.name: len(data[: scope.start_byte].decode())
            for scope in reversed(syntax.definitions())
            if scope.kind in KINDS and DISTINCT.fullmatch(scope.name)
        }
        imports = syntax.imports()
        words = frozenset(word for start, end in imports for word in WORD.findall(data[start:end].decode()))
        used = {}
        for node in nodes_of(syntax.tree.root_node) if syntax.tree is not None else ():
            if node.child_count or not IDENTIFIER.search(node.type):
                continue
            start, name = node.start_byte, data[node.start_byte : node.end_byte].decode()
            if DISTINCT.fullmatch(name) and not any(first <= start < last for first, last in imports):
                used[data.rfind(b"\n", 0, start) + 1, name] = None
        return cls(file, defined, list(used), words)

    def sees(self, other: SourceFile) -> bool:
        """Return whether this file's imports name the other one, or both are in one folder."""
        path, own = PurePosixPath(other.path), PurePosixPath(self.file.path)
        stem = path.parent.name if path.stem in STANDS_FOR_FOLDER else path.stem
        return stem in self.imported_words or path.parent == own.parent


def uses_of(survey: Survey, by_name: dict[str, list[Survey]]) -> Iterator[tuple[int, str, Survey]]:
    """Starts of lines, in bytes, that use a name which one other file defines, with the name and that file.

    `by_name` has the files that define a name.
    """
    for start, name in survey.used:
        defining = by_name.get(name, [])
        if len(defining) == 1 and defining[0] is not survey and survey.sees(defining[0].file):
            yield start, name, defining[0]


def pick_cross_file_holes(files: Sequence[SourceFile], n_holes: int, seed: int) -> list[CrossFileHole]:
    """Draw holes from files of one language, `HOLES_A_FILE` from each at most."""
    rng = random.Random(f"cross_file {seed}")
    packages: dict[str, list[SourceFile]] = defaultdict(list)
    for file in files:
        packages[file.package].append(file)
    found: list[tuple[Survey, int, str, Survey]] = []
    for package in packages.values():
        surveys = [Survey.of(file) for file in package]
        by_name: dict[str, list[Survey]] = defaultdict(list)
        for survey in surveys:
            for name in survey.defined:
                by_name[name].append(survey)
        for survey in surveys:
            uses = list({start: (start, name, other) for start, name, other in uses_of(survey, by_name)}.values())
            found += [(survey, *use) for use in rng.sample(uses, min(len(uses), HOLES_A_FILE))]
    holes = []
    for survey, start, name, defining in rng.sample(found, min(len(found), n_holes)):
        file, other = survey.file, defining.file
        unrelated = [each for each in packages[file.package] if each not in (file, other) and name not in each.text]
        drawn = rng.choice(unrelated) if unrelated else None
        hole = cut(file.text, len(file.text.encode()[:start].decode()))
        holes.append(CrossFileHole(hole, file, name, other, defining.defined[name], drawn))
    return holes
