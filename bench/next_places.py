"""A bound, by simulation, of what prompts evaluated ahead at likely next places could save.

`python bench/next_places.py TRACE --model GGUF [--as NAME] [--first N] [--edits N] [--ram-mib N]`. As
`bench/evaluated.py`; an edit elsewhere that evaluates a slice or more is a *jump*. Before each jump a server could have
guessed: the places of the last edits, the definitions of names in the cursor's line, and the first error below the
cursor. A jump to within `NEAR_LINES` lines of a guess counts all of its tokens as saved. *Guesses* is the mean number
of places that would have to be evaluated for that before each jump.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from statistics import fmean

from evaluated import counted
from trace_windows import Step

from starcoder_lsp.context.text_change import TextChange

MIN_EVALUATED = 64
"""Tokens of a jump: a slice on two CPU cores."""
NEAR_LINES = 3
N_EDIT_PLACES = 4
NAME = re.compile(rb"[^\W\d]\w+")


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


def main() -> None:
    """Replay and print."""
    before: Step | None = None
    edited: list[int] = []  # bytes in the text before, the newest last
    n_edits = n_tokens = 0
    jumps: list[int] = []
    saved: dict[str, list[int]] = defaultdict(list)
    n_guesses: dict[str, list[int]] = defaultdict(list)
    for step, n_evaluated in counted(__doc__):
        text = step.snapshot.text
        n_edits, n_tokens = n_edits + 1, n_tokens + n_evaluated
        if before is not None:
            change = TextChange.between(before.snapshot.text.data, text.data)
            if n_evaluated >= MIN_EVALUATED and not step.edit.is_typing:
                jumps.append(n_evaluated)
                guesses = {
                    "a last edit": edited[:-1],
                    "a definition": list(definitions_named(before)),
                    "the next error": list(next_error(before)),
                }
                guesses["any of them"] = [place for places in guesses.values() for place in places]
                for name, places in guesses.items():
                    lines = {text.line_of(min(change.nearest_place(place), len(text.data))) for place in places}
                    is_near = any(abs(line - step.edit.line) <= NEAR_LINES for line in lines)
                    saved[name].append(n_evaluated if is_near else 0)
                    n_guesses[name].append(len(lines))
            edited = [change.nearest_place(place) for place in edited]
        same_line = [place for place in edited if text.line_of(min(place, len(text.data))) == step.edit.line]
        edited = [*(place for place in edited if place not in same_line), step.cursor_byte][-N_EDIT_PLACES - 1 :]
        before = step
    print(f"{n_edits} edits, {n_tokens / n_edits:.2f} evaluated; {len(jumps)} jumps: {sum(jumps) / n_edits:.2f}")
    for name, tokens in saved.items():
        n_hit = sum(n > 0 for n in tokens)
        print(
            f"{name:15} {n_hit / len(jumps):6.1%} of the jumps, {sum(tokens) / n_edits:6.2f} tokens an edit;"
            f" {fmean(n_guesses[name]):.1f} guesses"
        )


if __name__ == "__main__":
    main()
