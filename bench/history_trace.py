"""Make a trace of an editing session from a file's history in a git repository.

`python bench/history_trace.py REPOSITORY PATH TRACE.json.gz [--commits N]`. The trace has the format of
josephg/editing-traces. For each commit that changed the file, oldest first and along first parents, the changed groups
of lines are edited from top to bottom. Text that a group loses is deleted at once, as with a selection. Text that it
gains is typed, one character a transaction; the indentation of a line comes with the newline before it, as from an
editor. What both versions of a group share at their beginning and end is left alone.

A history has no pauses, no typos and no reading. So a trace shows the cost of jumps and typing, and not how a person
works.
"""

from __future__ import annotations

import argparse
import difflib
import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

KEYSTROKE = re.compile(r"\n[ \t]*|.", re.DOTALL)
Patch = tuple[int, int, str]
"""Position, number of deleted characters, inserted text. Characters are code points."""


def versions(repository: Path, path: str, n_commits: int) -> list[str]:
    """Return the file's last `n_commits` versions, oldest first. Raises `subprocess.CalledProcessError`."""

    def git(*arguments: str) -> bytes:
        command = ["git", "-C", str(repository), *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603  the user's own repository

    log = git("log", "--first-parent", f"-{n_commits}", "--format=%H", "--diff-filter=AM", "--", path).decode().split()
    texts = (git("show", f"{commit}:{path}").decode("utf-8", "replace") for commit in reversed(log))
    return [text.replace("\r\n", "\n") for text in texts]


def keystrokes(before: str, after: str) -> Iterator[Patch]:
    """Yield the patches that turn one version into the next, each for the text that the one before it left."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    starts = [0]
    for line in old:
        starts.append(starts[-1] + len(line))
    shift = 0
    for tag, old_first, old_end, new_first, new_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        lost, gained = "".join(old[old_first:old_end]), "".join(new[new_first:new_end])
        n_head = _n_shared(lost, gained)
        n_tail = _n_shared(lost[n_head:][::-1], gained[n_head:][::-1])
        lost, gained = lost[n_head : len(lost) - n_tail], gained[n_head : len(gained) - n_tail]
        place = starts[old_first] + shift + n_head
        if lost:
            yield place, len(lost), ""
        for match in KEYSTROKE.finditer(gained):
            yield place + match.start(), 0, match.group()
        shift += len(gained) - len(lost)


def _n_shared(one: str, other: str) -> int:
    """Return how many characters two texts share at their beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def main() -> None:
    """Write the trace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("path", help="of the file, from the top of the repository")
    parser.add_argument("trace", type=Path)
    parser.add_argument("--commits", type=int, default=200)
    arguments = parser.parse_args()
    texts = versions(arguments.repository, arguments.path, arguments.commits)
    patches = [patch for before, after in pairwise(texts) for patch in keystrokes(before, after)]
    contents = {"name": Path(arguments.path).name, "startContent": texts[0], "endContent": texts[-1]}
    trace = {**contents, "txns": [{"patches": [patch]} for patch in patches]}
    with gzip.open(arguments.trace, "wt", encoding="utf-8") as file:
        json.dump(trace, file)
    print(f"{len(texts)} versions, {len(patches)} edits")


if __name__ == "__main__":
    main()
