"""The indentation of a file around a cursor: its unit, and the levels above."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from attrs import frozen

UNITS = (2, 3, 4, 8)
N_AROUND_BYTES = 16 * 1024
"""The bytes above the cursor in which the unit is searched, and below it if none is found above. Not measured."""
N_AROUND_LINES = 500
"""The lines of that text that count, the nearest to the cursor. The stop rule needs them on the event loop: 2 µs a
line."""
MAX_LEVELS = 30
TAB_WIDTHS = (4, 8)
"""The tab widths, in columns, that a model may assume."""
BLANK = b" \t"


@frozen
class Level:
    """An indentation of the file, and the widths in columns with which the model may write it."""

    blank: bytes
    widths: tuple[int, ...]

    @classmethod
    def of(cls, blank: bytes) -> Level:
        """Return the level of a line of the file."""
        return cls(blank, tuple(len(blank.expandtabs(n)) for n in TAB_WIDTHS))


@frozen
class Indentation:
    """The unit of a file, and the levels around the cursor, the deepest last.

    `line_above` is the last line above the cursor's that is not blank.
    """

    unit: bytes
    levels: tuple[Level, ...]
    line_above: bytes


def indentation_of(
    data: bytes, cursor_byte: int, line_before: bytes, opens_body: Callable[[bytes], bool]
) -> Indentation | None:
    """Return the indentation around a cursor; `None` if the file has no indented line there."""
    line_start = data.rfind(b"\n", 0, cursor_byte) + 1
    lines_above = data[max(0, line_start - N_AROUND_BYTES) : line_start].splitlines()[-N_AROUND_LINES:]
    lines_below = data[cursor_byte : cursor_byte + N_AROUND_BYTES].splitlines()[1 : N_AROUND_LINES + 1]
    above, below = ([line for line in lines if line.strip()] for lines in (lines_above, lines_below))
    begun = [line_before + b"x"] if line_before and not line_before.strip() else []
    unit = _unit([*above, *begun], opens_body) or _unit(below, opens_body)
    if unit is None:
        return None
    line_above = above[-1] if above else b""
    levels = [Level.of(blank_of(line_before or line_above))]
    width = width_of(levels[0].blank)
    for line in reversed(above):
        if width_of(line) < width and len(levels) < MAX_LEVELS:
            levels.append(Level.of(blank_of(line)))
            width = width_of(line)
    return Indentation(unit, tuple(reversed(levels)), line_above)


def _unit(lines: Sequence[bytes], opens_body: Callable[[bytes], bool]) -> bytes | None:
    """Return the commonest unit of the bodies' first lines, or else of lines that are deeper than the one before."""
    bodies, steps = Counter[bytes](), Counter[bytes]()
    last: bytes | None = None
    for line in lines:
        blank = blank_of(line)
        if last is not None and blank.startswith(blank_of(last)):
            step = blank[len(blank_of(last)) :]
            if step == b"\t" or (len(step) in UNITS and not step.strip(b" ")):
                steps[step] += 1
                bodies[step] += opens_body(last)
        if not line.lstrip(BLANK).startswith(b"*"):
            last = line
    found = +bodies or steps
    return found.most_common(1)[0][0] if found else None


def blank_of(line: bytes) -> bytes:
    """Return the blanks that a line begins with."""
    return line[: len(line) - len(line.lstrip(BLANK))]


def width_of(line: bytes) -> int:
    """Return the columns of the blanks that a line begins with."""
    return len(blank_of(line).expandtabs(TAB_WIDTHS[-1]))
