"""Assign the context's sequences to documents and jobs.

Some sequences hold a document each and are `residents`. Others are `branches`, lent to the answers beside a job's first
one. Each resident may have a spare one for cells that are set aside (`moved.py`). A document that loses its sequence is
copied out (`parking.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from attrs import define, field

from starcoder_lsp.engine.engine import CachedDocument, EngineError
from starcoder_lsp.engine.local.backend import Backend
from starcoder_lsp.engine.local.jobs import Job, Resident
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner, common_prefix_length, rewind
from starcoder_lsp.engine.local.moved import longest_run, put_back, set_aside
from starcoder_lsp.engine.local.parking import ParkedStates, park, persist, swap_in

IDLE_RESIDENT_S = 10.0
"""The time without a job after which a document is copied out: in a unified cache it slows all other documents.
Not measured."""


@define(eq=False)
class Sequences:
    """The sequences, and the copies of documents that left them. On the model thread, but for `cached`."""

    backend: Backend
    states: ParkedStates
    residents: list[Resident] = field(factory=list)
    branches: list[int] = field(factory=list)
    """Sequences that are free to lend."""

    @classmethod
    def of(
        cls, backend: Backend, states: ParkedStates, n_residents: int, n_branches: int, *, has_spares: bool = False
    ) -> Sequences:
        """Number the sequences of an empty context: residents, branches and, with `has_spares`, one for each resident.

        Without spare ones no cells are set aside.
        """
        n_used = n_residents + n_branches
        residents = [Resident(CachedSequence(n), n_used + n if has_spares else None) for n in range(n_residents)]
        return cls(backend, states, residents, list(range(n_residents, n_used)))

    # Jobs

    def job_of(self, owner: Owner) -> Job | None:
        """Return the job that works on a document."""
        return next((each.job for each in self.residents if each.job is not None and each.cached.owner == owner), None)

    def busy(self) -> list[Resident]:
        """Return the residents with a job."""
        return [each for each in self.residents if each.job is not None]

    def admit(self, job: Job) -> bool:
        """Give a job a sequence, with the cells that it can reuse in it; return false if there is no room.

        Idle documents are copied out to make room: this client's, those idle for long, and others if need be.
        """
        idle = [each for each in self.residents if each.job is None]
        n_free = self.backend.n_cells - sum(each.n_reserved for each in self.busy())
        if not idle or n_free < job.n_needed:
            return False
        target = min(idle, key=lambda each: _rank(each, job.owner))
        now = time.monotonic()
        for each in sorted(idle, key=lambda each: each.used_s):
            n_held = sum(other.n_cells for other in idle if other is not target)
            is_old = now - each.used_s > IDLE_RESIDENT_S
            is_own = each.cached.owner.client == job.owner.client
            if each is not target and each.n_cells and (is_old or is_own or n_held + job.n_needed > n_free):
                self.vacate(each)
        others = [each.cached for each in self.residents if each is not target and each.cached.ids]
        if target.cached.owner != job.owner:
            self._drop_aside(target)
        swap_in(self.backend, target.cached, others, self.states, job.owner, job.decoding.ids)
        target.job, job.resident = job, target
        self._keep_matching(target, job.decoding.ids)
        job.n_reused = target.n_cells if job.n_reused is None else job.n_reused
        return True

    def _keep_matching(self, resident: Resident, ids: Sequence[int]) -> None:
        """Keep the cells that a prompt begins with, and set aside a run of the others that it has further on."""
        cached, aside, spare = resident.cached, resident.aside, resident.spare
        n_matched = cached.match(ids)
        if aside is not None and not aside.serves(n_matched, ids):
            self._drop_aside(resident)
        run = longest_run(cached.ids, ids, n_matched) if spare is not None and resident.aside is None else None
        if spare is None or run is None or self._is_shared(resident, run.start):
            rewind(self.backend, cached, n_matched)
        else:
            resident.aside = set_aside(self.backend, cached, spare, n_matched, run)

    def _is_shared(self, resident: Resident, position: int) -> bool:
        """Return whether another resident may share the cell at a position, which then stays where it is.

        So what two residents share is always a beginning of both.
        """
        ids = resident.cached.ids
        others = [each.cached.ids for each in self.residents if each is not resident]
        return any(common_prefix_length(other, ids) > position for other in others)

    def put_back(self, resident: Resident) -> None:
        """Put cells that were set aside behind the others if all cells before them are there."""
        aside = resident.aside
        if aside is not None and len(resident.cached.ids) == aside.at:
            put_back(self.backend, resident.cached, aside)
            resident.aside = None

    def _drop_aside(self, resident: Resident) -> None:
        if resident.aside is not None:
            self.backend.truncate(resident.aside.sequence, 0)
            resident.aside = None

    def _clear(self, resident: Resident) -> None:
        """Drop all cells of a resident."""
        self._drop_aside(resident)
        rewind(self.backend, resident.cached, 0)

    def take(self, job: Job, branches: list[int]) -> None:
        """Give a job the branches that its answers are in."""
        job.branches = branches
        self.branches = [each for each in self.branches if each not in branches]

    def release(self, job: Job) -> None:
        """Take a job's sequences back. The cells of its resident stay."""
        for sequence in job.branches:
            self.backend.truncate(sequence, 0)
        self.branches += job.branches
        job.branches = []
        if job.resident is not None:
            job.resident.job = None
            job.resident.used_s = time.monotonic()
            job.resident = None

    def clear_for(self, job: Job) -> None:
        """Drop the cells of a job and of all idle documents."""
        for each in self.residents:
            if each.job is None or each.job is job:
                self._clear(each)

    def scratch(self) -> int:
        """Return an empty sequence for measuring, until the next turn; idle documents are copied out.

        Raises `EngineError`.
        """
        if not self.branches:
            message = "others use all sequences of the context; measure when they are done"
            raise EngineError(message)
        for each in self.residents:
            if each.job is None and each.n_cells:
                self.vacate(each)
        return self.branches[-1]

    # Documents

    def held(self) -> list[CachedSequence]:
        """Return the residents that have cells."""
        return [each.cached for each in self.residents if each.cached.ids]

    def vacate(self, resident: Resident) -> None:
        """Copy an idle document out and give up its cells."""
        park(self.backend, resident.cached, self.states)
        self._clear(resident)

    def persist(self, owner: Owner) -> None:
        """Write a document's state to disk, if states go there."""
        persist(self.backend, self.held(), self.states, [owner])

    def persist_all(self) -> None:
        """Write every state to disk, if states go there."""
        persist(self.backend, self.held(), self.states)

    def leave(self, client: str) -> None:
        """Persist and copy out the documents of a client that has gone and has no job any more."""
        own = [each for each in self.residents if each.cached.owner.client == client and each.n_cells]
        parked = {state.owner for state in self.states if state.owner.client == client}
        persist(self.backend, self.held(), self.states, {each.cached.owner for each in own} | parked)
        for each in own:
            self.vacate(each)

    def forget_all_but(self, clients: AbstractSet[str]) -> None:
        """Drop everything but what is cached for some clients, and the files of documents that none of them has."""
        for each in self.residents:
            if each.cached.owner.client not in clients and each.job is None:
                self._clear(each)
        self.states.forget_all_but(clients)
        if self.states.files is not None:
            elsewhere = {each.owner.document for each in self.held() if each.owner.client in clients}
            elsewhere |= {parked.owner.document for parked in self.states}
            for stored in list(self.states.files):
                if stored.document not in elsewhere:
                    self.states.files.forget(stored.document)

    def cached(self, client: str) -> list[CachedDocument]:
        """Return what is cached for a client, most recently used first. Files belong to every client."""
        found = [
            CachedDocument(each.cached.owner.document, len(each.cached.ids), "device")
            for each in sorted(self.residents, key=lambda resident: -resident.used_s)
            if each.cached.ids and each.cached.owner.client == client
        ]
        found += [
            CachedDocument(parked.owner.document, len(parked.ids), "ram")
            for parked in self.states
            if parked.owner.client == client
        ]
        return found + [CachedDocument(stored.document, len(stored.ids), "disk") for stored in self.states.files or ()]


def _rank(resident: Resident, owner: Owner) -> tuple[bool, bool, bool, float]:
    """Order sequences for a document: its own, one of the same client, an empty one, the one idle for longest."""
    cached = resident.cached
    return cached.owner != owner, cached.owner.client != owner.client, resident.n_cells > 0, resident.used_s
