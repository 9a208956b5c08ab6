"""The model thread: the only one that touches the context. Several clients share it.

It works in short turns: a slice of one prompt, or one token of every answer that is being decoded, in one batch. Who
had less of its time goes first, and what somebody waits for goes before what is done ahead of need. Jobs whose cells do
not fit beside each other take turns by copies (`parking.py`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue

from attrs import define, evolve, field

from starcoder_lsp.engine.engine import CachedDocument, EngineError
from starcoder_lsp.engine.local.backend import N_SLICE, Backend
from starcoder_lsp.engine.local.decoding import Decoding, begin, choose_next, inputs
from starcoder_lsp.engine.local.jobs import Client, Job, Listener, Resident, in_turn
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner, evaluate_slice, move, rewind
from starcoder_lsp.engine.local.parking import ParkedStates, park, persist, swap_in

IDLE_RESIDENT_S = 10.0
"""After so long without a job a document of another client is copied out: in a unified cache it slows everybody."""
MAX_UNFAIR_MS = 1000.0
"""A job that finds no room waits while others have so much more time than it had; then they make room for it."""
MAX_ANSWERS = 8
"""Answers to one prompt: the sequences for them are there for all clients."""


@define(eq=False)
class Worker:
    """Jobs, the sequences that they work on, and the thread that does it. `n_context` bounds one prompt and answer."""

    backend: Backend
    states: ParkedStates
    n_context: int
    n_residents: int
    n_branches: int
    on_death: Callable[[], object] = lambda: None
    """Called on the model thread if an error that nobody expected ends it."""
    n_slice: int = N_SLICE
    """Most prompt tokens of one turn; the backend takes as many in a batch."""
    _jobs: list[Job] = field(factory=list)
    _residents: list[Resident] = field(factory=list)
    _branches: list[int] = field(factory=list)
    _clients: dict[str, Client] = field(factory=dict)
    _inbox: SimpleQueue[Callable[[], None] | None] = field(factory=SimpleQueue)
    _thread: threading.Thread | None = None
    _clock_ms: float = 0.0
    """The time that the client whose turn came last had had: where a client begins that comes, or comes back."""
    _is_awaited: bool = False
    """Whether somebody waits for a job that has come since the inbox was read last. Set by any thread."""

    def __attrs_post_init__(self) -> None:
        """Number the sequences: documents first, then answers beside the first one."""
        self.n_context = min(self.n_context, self.backend.n_cells)
        self._residents = [Resident(CachedSequence(number)) for number in range(self.n_residents)]
        self._branches = list(range(self.n_residents, self.n_residents + self.n_branches))

    # Called from any thread

    def start(self) -> None:
        """Begin to work."""
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def submit(self, owner: Owner, asked: Decoding, listener: Listener, *, is_ahead: bool) -> Job:
        """Take a job in; what came before in the same document must have been cancelled."""
        client = self._clients.setdefault(owner.client, Client(owner.client))
        job = Job(client, owner, asked, is_ahead, listener)
        self.call(lambda: self._take_in(job))
        if not is_ahead:
            self._is_awaited = True
        return job

    def cancel(self, job: Job, kept: int = 0) -> None:
        """End a job. Of its answers the cells of `kept` stay. Its listener is told."""
        job.is_cancelled = True
        self.call(lambda: self._finish(job, kept=kept))

    def drop(self, job: Job, number: int) -> None:
        """Decode no more of one answer."""
        self.call(lambda: self._drop(job, number))

    def call(self, work: Callable[[], None]) -> None:
        """Do something on the model thread, between two turns."""
        self._inbox.put(work)

    def leave(self, client: str) -> None:
        """Forget a client that has gone: its jobs end, its documents are copied out, for a while."""
        self._clients.pop(client, None)
        self.call(lambda: self._leave(client))

    def forget(self, client: str) -> None:
        """Drop all that is kept for a client, and the files of documents that nobody else has."""
        self.call(lambda: self._forget(client))

    def persist(self, owner: Owner) -> None:
        """Write to disk what is held for a document, if states go there."""
        self.call(lambda: persist(self.backend, self._held(), self.states, [owner]))

    def cached(self, client: str) -> list[CachedDocument]:
        """What is kept for a client, most recently used first. Files belong to nobody."""
        held = sorted(self._residents, key=lambda resident: -resident.used_s)
        found = [
            CachedDocument(each.cached.owner.document, len(each.cached.ids), "device")
            for each in held
            if each.cached.ids and each.cached.owner.client == client
        ]
        found += [
            CachedDocument(parked.owner.document, len(parked.ids), "ram")
            for parked in self.states
            if parked.owner.client == client
        ]
        return found + [CachedDocument(stored.document, len(stored.ids), "disk") for stored in self.states.files or ()]

    def close(self, timeout_s: float) -> bool:
        """End all jobs, persist everything and end the thread; false if it is still busy after `timeout_s`."""
        for job in list(self._jobs):
            job.is_cancelled = True
        self.call(self._end_all)
        self._inbox.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    # Called on the model thread

    def scratch(self) -> int:
        """An empty sequence to measure in, until the next turn; idle documents make room. Raises `EngineError`."""
        if not self._branches:
            message = "others use all sequences of the context; measure when they are done"
            raise EngineError(message)
        for each in self._residents:
            if each.job is None and each.cached.ids:
                self._vacate(each)
        return self._branches[-1]

    def _run(self) -> None:
        try:
            has_more = False
            while self._read_inbox(waits=not has_more):
                has_more = self._turn()
        except BaseException:
            self.on_death()
            raise

    def _read_inbox(self, *, waits: bool) -> bool:
        """Do what was asked for meanwhile; false at the end."""
        self._is_awaited = False
        while True:
            try:
                work = self._inbox.get(block=waits)
            except Empty:
                return True
            if work is None:
                return False
            work()
            waits = False

    def _turn(self) -> bool:
        """Do the next piece of work, a token of every answer that grows or a slice of one prompt; false without any."""
        most_ms = math.inf  # who had more is not let in before a job that waits for room
        for job in in_turn(self._jobs):
            if job.resident is None and (job.client.used_ms > most_ms or not self._admit(job)):
                most_ms = most_ms if job.is_ahead else min(most_ms, job.client.used_ms + MAX_UNFAIR_MS)
                continue
            self._clock_ms = max(self._clock_ms, job.client.used_ms)
            if job.is_prefilled:
                self._step([each for each in self._jobs if each.growing and each.is_ahead <= job.is_ahead])
            else:
                self._prefill(job)
            return True
        return False

    def _take_in(self, job: Job) -> None:
        error = self._refusal(job.asked.ids)
        if error:
            job.listener.on_end(job.usage, is_complete=False, error=error)
            return
        asked = job.asked = evolve(job.asked, n_answers=min(job.asked.n_answers, MAX_ANSWERS))
        job.n_needed = min(self.n_context, len(asked.ids) + (1 + asked.n_branches) * asked.max_new_tokens)
        if all(each.client is not job.client for each in self._jobs):
            job.client.used_ms = max(job.client.used_ms, self._clock_ms)
        self._jobs.append(job)

    def _refusal(self, ids: Sequence[int]) -> str:
        """Why a prompt cannot be evaluated, or an empty text."""
        if not 0 < len(ids) < self.n_context:
            return f"a prompt of {len(ids)} tokens leaves no room in a context of {self.n_context}"
        if min(ids) < 0 or max(ids) >= len(self.backend.pieces):
            return f"a prompt has an id that is not among the {len(self.backend.pieces)} of the model's vocabulary"
        return ""

    def _drop(self, job: Job, number: int) -> None:
        for answer in job.answers:
            if answer.number == number and not answer.end:
                answer.end = "dropped"

    def _finish(self, job: Job, *, kept: int = 0, error: str = "") -> None:
        """Take a job off the thread. Record and context agree afterwards."""
        if job not in self._jobs:
            return
        self._jobs.remove(job)
        resident, is_complete = job.resident, False
        if resident is not None:
            is_complete = len(resident.cached.ids) >= len(job.asked.ids)
            for answer in job.answers:
                if answer.number == kept and answer.sequence != resident.cached.sequence:
                    move(self.backend, answer.sequence, resident.cached, [*job.asked.ids, *answer.ids])
            self._leave_resident(job)
        job.listener.on_end(job.usage, is_complete=is_complete, error=error)

    def _leave_resident(self, job: Job) -> None:
        for sequence in job.branches:
            self.backend.truncate(sequence, 0)
        self._branches += job.branches
        job.branches = []
        if job.resident is not None:
            job.resident.job = None
            job.resident.used_s = time.monotonic()
            job.resident = None

    def _admit(self, job: Job) -> bool:
        """Find a sequence and room for a job; false if it must wait for another one to end."""
        for each in self._residents:
            if each.job is not None and each.cached.owner == job.owner:  # the job before, which is being ended
                if each.job.is_runnable:
                    return False
                self._finish(each.job)
        busy = [each for each in self._residents if each.job is not None]
        idle = [each for each in self._residents if each.job is None]
        n_free = self.backend.n_cells - sum(each.n_reserved for each in busy)
        if not idle or n_free < job.n_needed:
            return self._make_way(job, busy) and self._admit(job)
        target = self._target(job, idle)
        now = time.monotonic()
        for each in sorted(idle, key=lambda each: each.used_s):
            n_held = sum(len(other.cached.ids) for other in idle if other is not target)
            is_old = now - each.used_s > IDLE_RESIDENT_S
            is_own = each.cached.owner.client == job.owner.client
            if each is not target and each.cached.ids and (is_old or is_own or n_held + job.n_needed > n_free):
                self._vacate(each)
        others = [each.cached for each in self._residents if each is not target and each.cached.ids]
        swap_in(self.backend, target.cached, others, self.states, job.owner, job.asked.ids)
        target.job, job.resident = job, target
        n_matched = target.cached.match(job.asked.ids)
        rewind(self.backend, target.cached, n_matched)
        job.n_reused = len(target.cached.ids) if job.n_reused is None else job.n_reused
        return True

    def _target(self, job: Job, idle: list[Resident]) -> Resident:
        """The sequence of this document, of another one of this client, an empty one, or the one idle for longest."""
        owner = job.owner

        def rank(each: Resident) -> tuple[bool, bool, bool, float]:
            held = each.cached
            return held.owner != owner, held.owner.client != owner.client, bool(held.ids), each.used_s

        return min(idle, key=rank)

    def _vacate(self, resident: Resident) -> None:
        """Copy an idle document out and give up its cells."""
        park(self.backend, resident.cached, self.states)
        rewind(self.backend, resident.cached, 0)

    def _make_way(self, job: Job, busy: Iterable[Resident]) -> bool:
        """Make room for a job, if another one need not go on before it; false otherwise.

        Those that only wait for their readers are ended. The prefill that had the most time waits, if that is much more
        than this job had. An answer that nobody waits for is given up for one that somebody waits for.
        """
        working = [each.job for each in busy if each.job is not None]
        for other in working:
            if not other.is_runnable:
                self._finish(other)
                return True
        if job.is_ahead:
            return False
        others = [other for other in working if not other.is_prefilled]
        if others:
            longest = max(others, key=lambda each: (each.is_ahead, each.client.used_ms))
            if longest.is_ahead or longest.client.used_ms > job.client.used_ms + MAX_UNFAIR_MS:
                self._leave_resident(longest)
                return True
        for other in working:
            if other.is_ahead:
                self._finish(other, error="a request that somebody waits for needed the room")
                return True
        return False

    def _prefill(self, job: Job) -> None:
        """Evaluate a slice of a prompt, and behind the last one choose the first tokens."""
        assert job.resident is not None  # noqa: S101  admitted
        cached, ids = job.resident.cached, job.asked.ids
        piece = ids[len(cached.ids) : len(cached.ids) + self.n_slice]
        started = time.perf_counter()
        evaluation_ms = self.backend.evaluation_ms

        def interrupted() -> bool:
            return job.is_cancelled or (job.is_ahead and self._is_awaited)

        try:
            is_done = evaluate_slice(self.backend, cached, piece, interrupted)
        except EngineError as error:
            self._retry(job, str(error))
            return
        finally:
            job.evaluation_ms += self.backend.evaluation_ms - evaluation_ms
            job.charge((time.perf_counter() - started) * 1000)
        if not is_done:
            return
        job.n_evaluated += len(piece)
        if len(cached.ids) < len(ids):
            return
        if not job.decodes:
            self._finish(job)
            return
        n_room = self.n_context - len(ids)
        sequences = [cached.sequence, *self._branches[: min(job.asked.n_branches, n_room - 1)]]
        job.answers, tokens = begin(self.backend, job.asked, sequences, n_room)
        job.branches = sequences[1 : len(job.answers)]
        self._branches = [each for each in self._branches if each not in job.branches]
        job.listener.on_tokens(tokens, job.usage)

    def _retry(self, job: Job, error: str) -> None:
        """Begin again with an empty context, once: what other cells filled or broke must cost time only."""
        if job.has_failed or job.resident is None:
            self._finish(job, error=error)
            return
        job.has_failed = True
        for each in self._residents:
            if each.job is None or each.job is job:
                rewind(self.backend, each.cached, 0)
        job.n_reused = 0

    def _step(self, jobs: list[Job]) -> None:
        """Evaluate the last token of every answer that grows, in one batch, and choose the next ones."""
        started = time.perf_counter()
        evaluation_ms = self.backend.evaluation_ms
        growing = {job: job.growing for job in jobs}
        batch = [row for job, answers in growing.items() for row in inputs(job.asked, answers)]
        try:
            self.backend.step(batch)
        except EngineError as error:
            self._recover(jobs, str(error))
            return
        spent_ms = self.backend.evaluation_ms - evaluation_ms
        first_row = 0
        for job, answers in growing.items():
            assert job.resident is not None  # noqa: S101  it decodes
            if answers[0].sequence == job.resident.cached.sequence:
                job.resident.cached.ids.append(answers[0].ids[-1])
            tokens = choose_next(self.backend, job.asked, answers, first_row)
            first_row += len(answers)
            job.evaluation_ms += spent_ms
            job.listener.on_tokens(tokens, job.usage)
        share_ms = (time.perf_counter() - started) * 1000 / len(jobs)
        for job in jobs:
            job.charge(share_ms)

    def _recover(self, jobs: list[Job], error: str) -> None:
        """A step failed, and some of its cells may be there: bring all sequences back, and do without the others."""
        for job in jobs:
            assert job.resident is not None  # noqa: S101  it decodes
            rewind(self.backend, job.resident.cached, len(job.resident.cached.ids))
            for answer in job.growing:
                if answer.sequence != job.resident.cached.sequence:
                    self.backend.truncate(answer.sequence, len(job.asked.ids) + len(answer.ids) - 1)
        for job in jobs if len(jobs) == 1 else ():
            self._finish(job, error=error)
        for job in jobs if len(jobs) > 1 else ():
            self._step([job])

    def _end_all(self) -> None:
        for job in list(self._jobs):
            self._finish(job)
        persist(self.backend, self._held(), self.states)

    def _held(self) -> list[CachedSequence]:
        return [each.cached for each in self._residents if each.cached.ids]

    def _leave(self, client: str) -> None:
        for job in [job for job in self._jobs if job.owner.client == client]:
            self._finish(job)
        own = [each for each in self._residents if each.cached.owner.client == client and each.cached.ids]
        persist(self.backend, self._held(), self.states, {each.cached.owner for each in own} | self._parked_of(client))
        for each in own:
            self._vacate(each)

    def _parked_of(self, client: str) -> set[Owner]:
        return {parked.owner for parked in self.states if parked.owner.client == client}

    def _forget(self, client: str) -> None:
        for each in self._residents:
            if each.cached.owner.client == client and each.job is None:
                rewind(self.backend, each.cached, 0)
        self.states.forget(client)
        if self.states.files is not None:
            elsewhere = {each.owner.document for each in self._held() if each.owner.client != client}
            elsewhere |= {parked.owner.document for parked in self.states}
            for stored in list(self.states.files):
                if stored.document not in elsewhere:
                    self.states.files.forget(stored.document)
