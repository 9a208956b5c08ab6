"""Choose the next job of the model thread and do a short part: a slice of a prompt, or a token of each answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from attrs import define, evolve, field

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.local.backend import Backend
from starcoder_lsp.engine.local.decoding import begin, choose_next, inputs
from starcoder_lsp.engine.local.jobs import Job, in_turn
from starcoder_lsp.engine.local.kv_cache import evaluate_slice, move, rewind
from starcoder_lsp.engine.local.sequences import Sequences
from starcoder_lsp.engine.local.slices import SliceSize
from starcoder_lsp.engine.stream import StopReason

MAX_UNFAIR_MS = 1000.0
"""A job without room waits while running jobs had at most this much more time than its client; then one of them makes
room. About one slice of a 3B model on two CPU cores, so that copies cost less than the work between them; the value
itself is not measured."""
MAX_ANSWERS = 8
"""The most answers to one prompt; all clients share the sequences for them. Not measured."""


@define(eq=False)
class Turns:
    """The jobs. On the model thread. `n_context` bounds one prompt with its answer."""

    sequences: Sequences
    n_context: int
    is_urgent: Callable[[], bool]
    """True if a request that a user waits for has just come: work ahead of need is interrupted for it."""
    slices: SliceSize
    jobs: list[Job] = field(factory=list)
    _clock_ms: float = 0.0
    """The thread time of the client that had the last turn. A client that arrives, or returns, starts from here."""

    @property
    def _backend(self) -> Backend:
        return self.sequences.backend

    def turn(self) -> bool:
        """Decode a token of every running answer, or prefill a slice of one prompt; return false if no job can run."""
        max_used_ms = math.inf  # a client with more time is not admitted before a job that waits for room
        for job in in_turn(self.jobs):
            if job.resident is None and (job.client.used_ms > max_used_ms or not self._admit(job)):
                if not job.is_ahead:
                    max_used_ms = min(max_used_ms, job.client.used_ms + MAX_UNFAIR_MS)
                continue
            self._clock_ms = max(self._clock_ms, job.client.used_ms)
            if job.is_prefilled:
                self._step([each for each in self.jobs if each.running_answers and each.is_ahead <= job.is_ahead])
            else:
                self._prefill(job)
            return True
        return False

    def enqueue(self, job: Job) -> None:
        """Add a job, or end one whose prompt cannot be evaluated."""
        error = self._refusal(job.decoding.ids)
        if error:
            job.listener.on_end(job.usage, is_complete=False, error=error)
            return
        decoding = job.decoding = evolve(job.decoding, n_answers=min(job.decoding.n_answers, MAX_ANSWERS))
        n_new = (1 + decoding.n_branches) * decoding.max_new_tokens
        job.n_needed = min(self.n_context, len(decoding.ids) + n_new)
        if all(each.client is not job.client for each in self.jobs):
            job.client.used_ms = max(job.client.used_ms, self._clock_ms)
        self.jobs.append(job)

    def _refusal(self, ids: Sequence[int]) -> str:
        """Return why a prompt cannot be evaluated, or an empty text."""
        if not 0 < len(ids) < self.n_context:
            return f"a prompt of {len(ids)} tokens leaves no room in a context of {self.n_context}"
        if min(ids) < 0 or max(ids) >= len(self._backend.pieces):
            return f"a prompt has an id that is not among the {len(self._backend.pieces)} of the model's vocabulary"
        return ""

    def drop(self, job: Job, number: int) -> None:
        """End one answer of a job."""
        for answer in job.answers:
            if answer.number == number and not answer.end:
                answer.end = StopReason.DROPPED

    def finish(self, job: Job, *, kept_answer: int = 0, error: str = "") -> None:
        """Remove a job. Record and context agree afterwards."""
        if job not in self.jobs:
            return
        self.jobs.remove(job)
        resident, is_complete = job.resident, False
        if resident is not None:
            is_complete = len(resident.cached.ids) >= len(job.decoding.ids)
            for answer in job.answers:
                if answer.number == kept_answer and answer.sequence != resident.cached.sequence:
                    move(self._backend, answer.sequence, resident.cached, [*job.decoding.ids, *answer.ids])
            self.sequences.release(job)
        job.listener.on_end(job.usage, is_complete=is_complete, error=error)

    def _admit(self, job: Job) -> bool:
        """Give a job a sequence; return false if it must wait for another job to end."""
        previous = self.sequences.job_of(job.owner)
        if previous is not None:  # it is being cancelled
            if previous.is_runnable:
                return False
            self.finish(previous)
        while not self.sequences.admit(job):
            if not self._make_room(job):
                return False
        return True

    def _make_room(self, job: Job) -> bool:
        """Take the sequence of one other job for a job; return false if all of them go before it.

        First a job whose answers only wait for their reader ends. Then, for a job that a user waits for, the prefill
        whose client had the most time pauses, if that is much more than this job's client had; and then an answer ahead
        of need is given up.
        """
        others = [each.job for each in self.sequences.busy() if each.job is not None]
        for other in others:
            if not other.is_runnable:
                self.finish(other)
                return True
        if job.is_ahead:
            return False
        prefills = [other for other in others if not other.is_prefilled]
        if prefills:
            longest = max(prefills, key=lambda each: (each.is_ahead, each.client.used_ms))
            if longest.is_ahead or longest.client.used_ms > job.client.used_ms + MAX_UNFAIR_MS:
                self.sequences.release(longest)
                return True
        for other in others:
            if other.is_ahead:
                self.finish(other, error="a request that a user waits for needed the room")
                return True
        return False

    def _prefill(self, job: Job) -> None:
        """Evaluate a slice of a prompt, if one is left, and behind the last one choose the first tokens."""
        assert job.resident is not None  # noqa: S101  admitted
        cached, ids, aside = job.resident.cached, job.decoding.ids, job.resident.aside
        end = len(ids) if aside is None else aside.at
        slice_ids = ids[len(cached.ids) : min(end, len(cached.ids) + self.slices.n_tokens)]
        started = time.perf_counter()
        evaluation_ms = self._backend.evaluation_ms

        def interrupted() -> bool:
            return job.is_cancelled or (job.is_ahead and self.is_urgent())

        try:
            is_done = not slice_ids or evaluate_slice(self._backend, cached, slice_ids, interrupted)
        except EngineError as error:
            self._retry(job, str(error))
            return
        finally:
            job.evaluation_ms += self._backend.evaluation_ms - evaluation_ms
            job.charge((time.perf_counter() - started) * 1000)
        if not is_done:
            return
        job.n_evaluated += len(slice_ids)
        self.slices.record(len(slice_ids), self._backend.evaluation_ms - evaluation_ms)
        self.sequences.put_back(job.resident)
        if len(cached.ids) < len(ids):
            return
        cached.n_prompt = len(ids)
        if slice_ids:
            cached.keep_logits(self._backend.logits())
        if not job.decodes:
            self.finish(job)
            return
        n_room = self.n_context - len(ids)
        sequences = [cached.sequence, *self.sequences.branches[: min(job.decoding.n_branches, n_room - 1)]]
        logits = cached.logits_behind(len(ids))
        assert logits is not None  # noqa: S101  kept above, or nothing was left to evaluate
        job.answers, tokens = begin(self._backend, job.decoding, sequences, n_room, logits)
        self.sequences.take(job, sequences[1 : len(job.answers)])
        job.listener.on_tokens(tokens, job.usage)

    def _retry(self, job: Job, error: str) -> None:
        """Start a failed prefill again in an empty context, once: other cells may have caused the failure."""
        if job.has_failed or job.resident is None:
            self.finish(job, error=error)
            return
        job.has_failed = True
        self.sequences.clear_for(job)
        job.n_reused = 0

    def _step(self, jobs: list[Job]) -> None:
        """Evaluate the last token of every running answer, in one batch, and choose the next ones."""
        started = time.perf_counter()
        evaluation_ms = self._backend.evaluation_ms
        running = {job: job.running_answers for job in jobs}
        batch = [row for job, answers in running.items() for row in inputs(job.decoding, answers)]
        try:
            self._backend.step(batch)
        except EngineError as error:
            self._recover(jobs, str(error))
            return
        elapsed_ms = self._backend.evaluation_ms - evaluation_ms
        first_row = 0
        for job, answers in running.items():
            assert job.resident is not None  # noqa: S101  it decodes
            if answers[0].sequence == job.resident.cached.sequence:
                job.resident.cached.ids.append(answers[0].ids[-1])
                job.resident.cached.keep_logits(self._backend.logits(first_row))
            tokens = choose_next(self._backend, job.decoding, answers, first_row)
            first_row += len(answers)
            job.evaluation_ms += elapsed_ms
            job.listener.on_tokens(tokens, job.usage)
        share_ms = (time.perf_counter() - started) * 1000 / len(jobs)
        for job in jobs:
            job.charge(share_ms)

    def _recover(self, jobs: list[Job], error: str) -> None:
        """Rewind all sequences after a failed step, which may leave cells, and step each job alone."""
        for job in jobs:
            assert job.resident is not None  # noqa: S101  it decodes
            rewind(self._backend, job.resident.cached, len(job.resident.cached.ids))
            for answer in job.running_answers:
                if answer.sequence != job.resident.cached.sequence:
                    self._backend.truncate(answer.sequence, len(job.decoding.ids) + len(answer.ids) - 1)
        if len(jobs) == 1:
            self.finish(jobs[0], error=error)
            return
        for job in jobs:
            self._step([job])
