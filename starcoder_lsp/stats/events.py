"""The recorded events: small frozen values without source text and without paths.

The session emits them on the event loop; a `Sink` takes them. Times are milliseconds since 1970 by the wall clock;
durations come from a monotonic clock.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from attrs import evolve, frozen

CHECKS_S = (30, 120, 300, 600)
"""Seconds after an acceptance at which the accepted text is looked at, as Cody does it."""
REST_OF_LINE, BLOCK, REWRITE = "rest of line", "block", "rewrite"
"""Kinds of suggestions; those of rewrites are `rewrite: NAME`."""
MAX_KEPT_DISTANCE = 0.5
"""A text is kept if its edit distance is at most this part of its length, as Copilot counts it."""


class Outcome(StrEnum):
    """The outcome of a suggestion."""

    WHOLE = "whole"
    """Accepted, as the client says."""
    INFERRED = "inferred"
    """Accepted: one edit inserted it."""
    WORD = "word"
    """A part within a line was accepted, as the client says."""
    LINE = "line"
    """A part that ends with a line was accepted, as the client says."""
    TYPED = "typed through"
    """The user typed all of it."""
    REJECTED = "rejected"
    """The client says so."""
    SUPERSEDED = "superseded"
    """The user did something else."""


ACCEPTED = frozenset({Outcome.WHOLE, Outcome.INFERRED, Outcome.WORD, Outcome.LINE})


@frozen
class Conditions:
    """Under which a suggestion was made. `settings` names those that differ from the defaults; none is private."""

    language: str
    kind: str
    model: str = ""
    model_hash: str = ""
    engine: str = "local"
    settings: str = ""


@lru_cache(256)
def of_kind(conditions: Conditions, kind: str) -> Conditions:
    """Return conditions with a kind, without making the same ones for each keystroke anew."""
    return evolve(conditions, kind=kind)


@frozen
class Measures:
    """The size and cost of a suggestion. `confidence` is the mean natural logarithm of its tokens' probabilities."""

    n_chars: int
    n_lines: int
    n_tokens: int = 0
    latency_ms: float = 0.0
    confidence: float | None = None
    cut_by: str = ""
    """The filter that shortened it, if one did."""


@frozen
class Started:
    """A session with a client begins; it has a random number. Each event after it is of this session."""

    session: int
    at_ms: int
    client: str


@frozen
class Offered:
    """A suggestion was sent. `answer` is the number of the first alternative of the same answer."""

    suggestion: int
    answer: int
    alternative: int
    at_ms: int
    conditions: Conditions
    measures: Measures
    document: str
    """A keyed hash of the path."""
    repository: str
    """A keyed hash of the root folder, or an empty string."""
    features: tuple[float, ...] = ()
    """The gate's features of it."""


@frozen
class Shown:
    """The client says that it shows a suggestion."""

    suggestion: int
    at_ms: int


@frozen
class Withheld:
    """Nothing was offered, though the model wrote something: the filter `by` dropped it."""

    at_ms: int
    conditions: Conditions
    by: str


@frozen
class Ended:
    """A suggestion has an outcome; `n_chars` were accepted. A later one for the same suggestion counts instead."""

    suggestion: int
    at_ms: int
    outcome: Outcome
    n_chars: int = 0
    waited_ms: float | None = None
    """Of an accepted rewrite: the time since the first request for one at this place."""


@frozen
class Fragments:
    """Accepted lines that are long enough: of each its number of characters and its keyed hash."""

    suggestion: int
    lines: tuple[tuple[int, str], ...]


@frozen
class Checked:
    """The remains of an accepted text after a time. `share` and `distance` are parts of its characters.

    `None` for both: unknown, since the document was closed or replaced as a whole.
    """

    suggestion: int
    after_s: int
    share: float | None
    distance: float | None


@frozen
class Written:
    """Characters that came into documents of a language by edits, suggestions included."""

    at_ms: int
    language: str
    n_chars: int


Event = Started | Offered | Shown | Withheld | Ended | Fragments | Checked | Written


class Sink(Protocol):
    """Takes events. Must not block: it is called on the event loop."""

    def emit(self, event: Event) -> None:
        """Take an event."""


class NoSink:
    """Keeps nothing."""

    def emit(self, event: Event) -> None:
        """Forget it."""
