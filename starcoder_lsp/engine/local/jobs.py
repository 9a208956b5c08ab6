"""One request as the model thread sees it, and whose turn it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from attrs import define, field

from starcoder_lsp.engine.local.decoding import Answer, Decoding
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner
from starcoder_lsp.engine.stream import Token, Usage


class Listener(Protocol):
    """Whoever waits for a job. Called on the model thread."""

    def on_tokens(self, tokens: tuple[Token, ...], usage: Usage) -> None:
        """Some tokens were chosen."""

    def on_end(self, usage: Usage, *, is_complete: bool, error: str) -> None:
        """The job is done; the last call. `error` is empty, or one line about why it failed."""


@define(eq=False)
class Resident:
    """A sequence of the context that holds a document, and the job that works on it."""

    cached: CachedSequence
    job: Job | None = None
    used_s: float = 0.0
    """When its last job ended, by the monotonic clock."""

    @property
    def n_reserved(self) -> int:
        """Cells that its job may need."""
        return max(len(self.cached.ids), self.job.n_needed if self.job is not None else 0)


@define(eq=False)
class Client:
    """One client's share of the model thread: who had less of it goes first."""

    name: str
    used_ms: float = 0.0


@define(eq=False)
class Job:
    """A prompt to evaluate, and the answers to decode behind it: none, if it is to be evaluated only.

    `is_cancelled` may be set by any thread; everything else is the model thread's.
    """

    client: Client
    owner: Owner
    decoding: Decoding
    is_ahead: bool
    """Whether nobody waits for it."""
    listener: Listener
    is_cancelled: bool = False
    n_needed: int = 0
    """Cells that it may come to need."""
    resident: Resident | None = None
    answers: list[Answer] = field(factory=list)
    branches: list[int] = field(factory=list)
    """Sequences that were lent to it for further answers."""
    n_reused: int | None = None
    """Prompt tokens whose cells were there when it began."""
    n_evaluated: int = 0
    evaluation_ms: float = 0.0
    used_ms: float = 0.0
    has_failed: bool = False
    """Whether a decode call failed once; the second time it is given up."""

    @property
    def decodes(self) -> bool:
        """Whether answers are wanted."""
        return self.decoding.n_answers > 0

    @property
    def is_prefilled(self) -> bool:
        """Whether the whole prompt is evaluated."""
        return bool(self.answers)

    @property
    def running_answers(self) -> list[Answer]:
        """Answers of which more is to be decoded."""
        return [answer for answer in self.answers if not answer.end]

    @property
    def is_runnable(self) -> bool:
        """Whether the model thread can do anything for it now; otherwise it waits for its reader."""
        return not self.answers or bool(self.running_answers)

    @property
    def usage(self) -> Usage:
        """What it cost so far."""
        return Usage(self.n_reused or 0, self.n_evaluated, self.evaluation_ms)

    def charge(self, elapsed_ms: float) -> None:
        """Count time that the model thread spent on it."""
        self.used_ms += elapsed_ms
        self.client.used_ms += elapsed_ms


def in_turn(jobs: Iterable[Job]) -> list[Job]:
    """The jobs that can go on, in the order of their turns.

    Work that somebody waits for comes first; then the client that had the least of the model thread's time, then its
    job that had the least.
    """
    runnable = [job for job in jobs if job.is_runnable]
    return sorted(runnable, key=lambda job: (job.is_ahead, job.client.used_ms, job.used_ms))
