"""Simulate prompts that are evaluated ahead of need at likely next places: what they cost and what they save.

`python bench/next_places.py TRACE --model GGUF [--as NAME] [--first N] [--edits N] [--ram-mib N] [--reuse-moved]`. As
`bench/evaluated.py`; before each pause of `PAUSE_S` or more the prompts at some places are evaluated whole, as if there
were time for all of them, and then the prompt at the cursor again. A row for each kind of guess: the places of the last
edits, the definitions of names in the cursor's line, the first error below the cursor. *Ahead* is the number of tokens
that are evaluated in pauses. In a trace without times every edit is followed by a pause.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from attrs import define, field
from evaluated import Counter, counting_options
from trace_windows import Replay, Step

from starcoder_lsp.context.text_change import TextChange
from starcoder_lsp.prompting import build_prompt, full_budget

PAUSE_S = 1.0
N_EDIT_PLACES = 4
NEAR_LINES = 3
GUESSED = ("the cursor", "last edits", "definitions", "next error")
NAME = re.compile(rb"[^\W\d]\w+")


@define
class LastEdits:
    """The places of the last edits, at most one in `NEAR_LINES` lines, moved along with the text; the newest last."""

    places: list[int] = field(factory=list)
    _before: bytes = b""

    def note(self, step: Step) -> None:
        """Note an edit."""
        text = step.snapshot.text
        change = TextChange.between(self._before, text.data)
        moved = [min(change.nearest_place(place), len(text.data)) for place in self.places]
        others = [place for place in moved if abs(text.line_of(place) - step.edit.line) > NEAR_LINES]
        self.places = [*others, step.cursor_byte][-N_EDIT_PLACES - 1 :]
        self._before = text.data

    def elsewhere(self, _step: Step) -> Sequence[int]:
        """Return the places but for the cursor's own, the newest first."""
        return self.places[-2::-1]


def definitions_named(step: Step) -> Iterator[int]:
    """Yield where the definitions of names in the cursor's line begin, but for the one that the cursor is in."""
    text, syntax = step.snapshot.text, step.snapshot.syntax
    line = text.line_of(step.cursor_byte)
    names = set(NAME.findall(text.line_text(line)))
    for scope in syntax.definitions() if syntax is not None else ():
        if scope.name.encode() in names and text.line_of(scope.start_byte) != line:
            yield scope.start_byte


def next_error(step: Step) -> Iterator[int]:
    """Yield where the first error below the cursor's line is."""
    text, syntax = step.snapshot.text, step.snapshot.syntax
    below = text.line_span(text.line_of(step.cursor_byte))[1]
    found = syntax.first_error_in(below, len(text.data)) if syntax is not None else None
    if found is not None and found > below:
        yield found


def nowhere(_step: Step) -> Sequence[int]:
    """Guess nothing: the prompt at the cursor alone is evaluated ahead."""
    return ()


def simulated(arguments: argparse.Namespace, guessed: str) -> tuple[list[int], int]:
    """Replay with one kind of guess; return the evaluated tokens of each edit, and those evaluated ahead."""
    replay, counter, last_edits = Replay.of(arguments), Counter.of(arguments), LastEdits()
    ways: tuple[Callable[[Step], Sequence[int] | Iterator[int]], ...] = (
        nowhere,
        last_edits.elsewhere,
        definitions_named,
        next_error,
    )
    guess = dict(zip(GUESSED, ways, strict=True))[guessed]
    evaluated, n_ahead = [], 0
    for step in replay.steps():
        evaluated.append(counter.evaluate(replay.uri, step.prompt.ids))
        last_edits.note(step)
        if step.pause_s < PAUSE_S:
            continue
        for place in (*guess(step), step.cursor_byte):
            budget = full_budget(replay.model, replay.settings)
            window = replay.model.anchors.full_window(step.snapshot, place, budget, replay.model.tokenizer)
            n_ahead += counter.evaluate(replay.uri, build_prompt(window, replay.model).ids)
            replay.model.anchors.remember(window)
    return evaluated, n_ahead


def main() -> None:
    """Replay with each kind of guess, and print."""
    arguments = counting_options(__doc__).parse_args()
    for guessed in GUESSED:
        evaluated, n_ahead = simulated(arguments, guessed)
        print(
            f"{guessed:12} {len(evaluated):6} edits, {fmean(evaluated):6.2f} evaluated,"
            f" {n_ahead / len(evaluated):6.2f} ahead"
        )


if __name__ == "__main__":
    main()
