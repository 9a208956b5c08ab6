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
"""Seconds after an acceptance at which the accepted text is compared, as in Cody."""
REST_OF_LINE, BLOCK, REWRITE = "rest of line", "block", "rewrite"
"""Kinds of suggestions; those of rewrites are `rewrite: NAME`."""
MAX_KEPT_DISTANCE = 0.5
"""A text counts as kept if its edit distance is at most this share of its length, as for Copilot."""


class Outcome(StrEnum):
    """The outcome of a suggestion."""

    WHOLE = "whole"
    """Accepted, as the client reported."""
    INFERRED = "inferred"
    """Accepted: one edit inserted it."""
    WORD = "word"
    """A part within a line was accepted, as the client reported."""
    LINE = "line"
    """A part that ends with a line was accepted, as the client reported."""
    TYPED = "typed through"
    """The user typed all of it."""
    REJECTED = "rejected"
    """Rejected, as the client reported."""
    SUPERSEDED = "superseded"
    """The user went on with another edit."""


ACCEPTED = frozenset({Outcome.WHOLE, Outcome.INFERRED, Outcome.WORD, Outcome.LINE})


@frozen
class Conditions:
    """The circumstances of a suggestion. `settings` lists those that differ from the defaults; none is private."""

    language: str
    kind: str
    model: str = ""
    model_hash: str = ""
    engine: str = "local"
    settings: str = ""


@lru_cache(256)
def of_kind(conditions: Conditions, kind: str) -> Conditions:
    """Return conditions with another kind; cached, since each keystroke needs the same ones."""
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
    """A session with a client began; `session` is a random number. All later events belong to this session."""

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
    """The features that the gate computed for it."""


@frozen
class Shown:
    """The client reported that it shows a suggestion."""

    suggestion: int
    at_ms: int


@frozen
class Withheld:
    """The filter `by` dropped all that the model wrote, so nothing was offered."""

    at_ms: int
    conditions: Conditions
    by: str


@frozen
class Ended:
    """The outcome of a suggestion; `n_chars` were accepted. A later outcome of the same suggestion replaces it."""

    suggestion: int
    at_ms: int
    outcome: Outcome
    n_chars: int = 0
    waited_ms: float | None = None
    """For an accepted rewrite, the time since the first request for one at this place."""


@frozen
class Fragments:
    """Number of characters and keyed hash of each accepted line that is long enough."""

    suggestion: int
    lines: tuple[tuple[int, str], ...]


@frozen
class Checked:
    """The part of an accepted text that remains after a time. `share` and `distance` are shares of its characters.

    Both are `None` if the document was closed or replaced as a whole.
    """

    suggestion: int
    after_s: int
    share: float | None
    distance: float | None


@frozen
class Written:
    """The characters that edits inserted into documents of a language, suggestions included."""

    at_ms: int
    language: str
    n_chars: int


Event = Started | Offered | Shown | Withheld | Ended | Fragments | Checked | Written


class Sink(Protocol):
    """Receives events. It must not block, since it is called on the event loop."""

    def emit(self, event: Event) -> None:
        """Take an event."""


class NoSink:
    """Ignores events."""

    def emit(self, event: Event) -> None:
        """Ignore an event."""
