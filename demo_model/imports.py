"""Which files of a package import which others, read by pattern, and the order that follows.

StarCoder2's repository format shows files of one project together. A model learns to look at the other files only where
they tell it something, so files should stand behind those that they import. A pattern a language is enough for that:
what it misses is ordered by path.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from demo_model.cleaning import LANGUAGE_OF

Parts = tuple[str, ...]
MAX_IMPORTS = 12
"""Imports that are kept of one file."""
PATTERNS = {
    "python": re.compile(r"^\s*(?:from\s+(\.*[\w.]*)\s+import\s+\(?\s*(\w+)|import\s+([\w.]+))", re.MULTILINE),
    "javascript": re.compile(r"""(?:\bfrom|\brequire\(|\bimport\(?)\s*['"](\.{1,2}/[^'"]+)['"]"""),
    "java": re.compile(r"^import\s+(?:static\s+)?([\w.]+);", re.MULTILINE),
    "c": re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE),
    "go": re.compile(r'^\s*(?:import\s+)?(?:[\w.]+\s+)?"([\w.-]+(?:/[\w.-]+)+)"$', re.MULTILINE),
    "rust": re.compile(
        r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:use\s+(?:crate|super|self)::([\w:]+)|mod\s+(\w+);)", re.MULTILINE
    ),
    "ruby": re.compile(r"""^\s*(?:require|require_relative|autoload\s+:\w+,)\s*['"]([^'"]+)['"]""", re.MULTILINE),
    "php": re.compile(r"^use\s+([\w\\]+)", re.MULTILINE),
    "shellscript": re.compile(r"""^\s*(?:\.|source)\s+["']?(?:\$\{?\w+\}?/)?([\w./-]+)""", re.MULTILINE),
    "css": re.compile(r"""^\s*@(?:import|use|forward)\s+(?:\(\w+\)\s*)?['"]([^'"]+)['"]""", re.MULTILINE),
}
PATTERNS["typescript"], PATTERNS["cpp"] = PATTERNS["javascript"], PATTERNS["c"]
OF_THE_FOLDER = {"index", "__init__", "mod", "lib", "main"}
"""Names of files that stand for their folder."""


def parts_of(path: str) -> Parts:
    """A path without its suffix, as it would be imported."""
    *folders, name = path.split("/")
    stem, _, suffix = name.rpartition(".")
    if f".{suffix}" not in LANGUAGE_OF or not stem:
        stem = name
    return (*folders, stem.removeprefix("_") if suffix in {"scss", "less"} else stem)


def resolve(parts: Iterable[str]) -> Parts:
    """Follow `.` and `..`."""
    found: list[str] = []
    for part in parts:
        if part == "..":
            found = found[:-1]
        elif part not in {".", ""}:
            found.append(part)
    return tuple(found)


def imported(language: str, path: str, text: str) -> list[Parts]:
    """What a file imports, as the ends of paths, the longest guess first."""
    pattern = PATTERNS.get(language)
    if pattern is None:
        return []
    folder = path.split("/")[:-1]
    found: list[Parts] = []
    for match in pattern.finditer(text):
        target = next(group for group in match.groups() if group is not None)
        if language == "python":
            dots = len(target) - len(target.lstrip("."))
            base = folder[: len(folder) - dots + 1] if dots else []
            module = (*base, *filter(None, target.split(".")))
            if match.lastindex == 2 and match[2]:
                found.append((*module, match[2]))
            found.append(module)
        elif language in {"java", "php", "rust"}:
            names = re.split(r"[.\\]|::", target)
            found += [tuple(names[i:]) for i in range(max(1, len(names) - 1))] if language == "php" else [tuple(names)]
            if language == "rust":
                found += [tuple(names[:-1]), (*folder[-1:], *names)]
        elif language in {"javascript", "typescript"} or target.startswith("."):
            found.append(parts_of("/".join(resolve([*folder, *target.split("/")]))))
        else:
            found.append(parts_of(target))
            found.append(parts_of("/".join([*folder[-1:], target])))
    return [parts for parts in dict.fromkeys(found) if parts]


def find_imports(files: Sequence[tuple[str, str, str]]) -> list[list[int]]:
    """For each of one package's `files` (language, path, text) the numbers of those that it imports."""
    by_end: dict[Parts, list[int]] = defaultdict(list)
    for number, (_, path, _) in enumerate(files):
        parts = parts_of(path)
        folder = str(PurePosixPath(path).parent).split("/")
        for end in (parts, tuple(folder)) if parts[-1] in OF_THE_FOLDER else (parts,):
            for i in range(len(end)):
                by_end[end[i:]].append(number)
        if path.endswith(".go"):  # a package of Go is a folder
            for i in range(len(folder)):
                by_end[tuple(folder[i:])].append(number)
    found: list[list[int]] = []
    for number, (language, path, text) in enumerate(files):
        own: list[int] = []
        for parts in imported(language, path, text):
            candidates = [n for n in by_end.get(parts, []) if n != number and files[n][0] == language]
            if len(parts) == 1 and len(candidates) > 3:
                continue
            near = sorted(candidates, key=lambda n: -common_folders(files[n][1], path))
            own += near[:1]
        found.append(list(dict.fromkeys(own))[:MAX_IMPORTS])
    return found


def common_folders(a: str, b: str) -> int:
    """How many folders two paths have in common."""
    n_common = 0
    for x, y in zip(a.split("/")[:-1], b.split("/")[:-1], strict=False):
        if x != y:
            break
        n_common += 1
    return n_common


def import_order(imports: Sequence[Sequence[int]]) -> list[int]:
    """Numbers of the files, each behind those that it imports; where they go in a circle, as they come."""
    done: dict[int, None] = {}
    for root in range(len(imports)):
        stack = [(root, False)]
        open_: set[int] = set()
        while stack:
            number, left = stack.pop()
            if left:
                done.setdefault(number)
            elif number not in done and number not in open_:
                open_.add(number)
                stack.append((number, True))
                stack += [(n, False) for n in reversed(imports[number]) if n not in done]
    return list(done)
