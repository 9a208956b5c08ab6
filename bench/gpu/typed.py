"""Make an editing trace from a source file, if no recorded one is at hand. Needs Python alone."""

from __future__ import annotations

import json
from pathlib import Path

N_PLACES = 6
N_TYPED = 60
"""The characters typed at each place."""


def write_trace(source: Path, path: Path) -> Path:
    """Write a trace in which pieces of `source` are typed, a character an edit, from one place to the next below it."""
    text = start = source.read_text()
    places = [text.index("\n", len(text) * (2 * number + 1) // (2 * N_PLACES)) + 1 for number in range(N_PLACES)]
    for place in reversed(places):
        start = start[:place] + start[place + N_TYPED :]
    patches = [[place + n, 0, character] for place in places for n, character in enumerate(text[place:][:N_TYPED])]
    trace = {
        "name": source.name,
        "startContent": start,
        "endContent": text,
        "txns": [{"patches": [patch]} for patch in patches],
    }
    path.write_text(json.dumps(trace))
    return path
