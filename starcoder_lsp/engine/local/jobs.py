"""A request on the model thread, and the order of turns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from attrs import define, field

from starcoder_lsp.engine.local.decoding import Answer, Decoding
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner
from starcoder_lsp.engine.local.moved import Aside
from starcoder_lsp.engine.stream import Token, Usage


class Listener(Protocol):
    """Receives the results of a job. Called on the model thread."""

    def on_tokens(self, tokens: tuple[Token, ...], usage: Usage) -> None:
        """Handle the tokens of a step."""

    def on_end(self, usage: Usage, *, is_complete: bool, error: str) -> None:
        """Handle the end of the job; the last call. `error` is empty, or one line about the failure."""


@define(eq=False)
class Resident:
    """A sequence of the context that holds a document, and the job that works on it.

    `spare` is the sequence for cells that are set `aside` (`moved.py`); without one none are.
    """

    cached: CachedSequence
    spare: int | None = None
    aside: Aside | None = None
    job: Job | None = None
    used_s: float = 0.0
    """The monotonic time at which its last job ended."""

    @property
    def n_cells(self) -> int:
        """The number of cells that it has."""
        return len(self.cached.ids) + (len(self.aside.ids) if self.aside is not None else 0)

    @property
    def n_reserved(self) -> int:
        """The number of cells that it has, or that its job may need."""
        return max(self.n_cells, self.job.n_needed if self.job is not None else 0)


@define(eq=False)
class Client:
    """A client and the time that it had on the model thread."""

    name: str
    used_ms: float = 0.0


@define(eq=False)
class Job:
    """A prompt to evaluate, and the answers to decode; no answers for work ahead of need.

    Any thread may set `is_cancelled`; everything else belongs to the model thread.
    """

    client: Client
    owner: Owner
    decoding: Decoding
    is_ahead: bool
    """True if no user waits for it."""
    listener: Listener
    is_cancelled: bool = False
    n_needed: int = 0
    """The most cells that it needs."""
    resident: Resident | None = None
    answers: list[Answer] = field(factory=list)
    branches: list[int] = field(factory=list)
    """The sequences of its further answers."""
    n_reused: int | None = None
    """Prompt tokens whose cells were cached when it began; `None` before that."""
    n_evaluated: int = 0
    evaluation_ms: float = 0.0
    used_ms: float = 0.0
    has_failed: bool = False
    """True if a decode call failed. A second failure ends the job."""

    @property
    def decodes(self) -> bool:
        """Return whether it has answers to decode."""
        return self.decoding.n_answers > 0

    @property
    def is_prefilled(self) -> bool:
        """Return whether the whole prompt is evaluated."""
        return bool(self.answers)

    @property
    def running_answers(self) -> list[Answer]:
        """The answers that have not ended."""
        return [answer for answer in self.answers if not answer.end]

    @property
    def is_runnable(self) -> bool:
        """Return whether the model thread has work for it; otherwise it waits for its reader to close it."""
        return not self.answers or bool(self.running_answers)

    @property
    def usage(self) -> Usage:
        """Its cost so far."""
        return Usage(self.n_reused or 0, self.n_evaluated, self.evaluation_ms)

    def charge(self, elapsed_ms: float) -> None:
        """Add time on the model thread."""
        self.used_ms += elapsed_ms
        self.client.used_ms += elapsed_ms


def in_turn(jobs: Iterable[Job]) -> list[Job]:
    """Return the runnable jobs in the order of their turns.

    Jobs that a user waits for come first, then the client with the least time on the thread, then its job with the
    least.
    """
    runnable = [job for job in jobs if job.is_runnable]
    return sorted(runnable, key=lambda job: (job.is_ahead, job.client.used_ms, job.used_ms))
