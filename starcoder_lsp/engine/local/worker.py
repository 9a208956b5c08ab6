"""The model thread: the only one that touches the context. Several clients share it.

It works in short turns (`turns.py`): a slice of one prompt, or one token of every running answer, in one batch. The
client with the least time on the thread goes first, and a request that a user waits for goes before work ahead of need.
Jobs whose cells do not fit side by side take turns: `sequences.py` copies their documents out and in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from attrs import define, field

from starcoder_lsp.engine.engine import CachedDocument
from starcoder_lsp.engine.local.decoding import Decoding
from starcoder_lsp.engine.local.jobs import Client, Job, Listener
from starcoder_lsp.engine.local.kv_cache import Owner
from starcoder_lsp.engine.local.sequences import Sequences
from starcoder_lsp.engine.local.slices import SliceSize
from starcoder_lsp.engine.local.turns import Turns


@define(eq=False)
class Worker:
    """The thread, and how other threads give it work. `n_context` bounds one prompt with its answer."""

    sequences: Sequences
    n_context: int
    on_death: Callable[[], object] = lambda: None
    """Called on the model thread if an unexpected error ends it."""
    slices: SliceSize | None = None
    """The size of slices; whole batches if there is none."""
    _turns: Turns = field(init=False)
    _clients: dict[str, Client] = field(factory=dict)
    _inbox: SimpleQueue[Callable[[], None] | None] = field(factory=SimpleQueue)
    _thread: threading.Thread | None = None
    _has_urgent: bool = False
    """True if a request that a user waits for came since the inbox was last read. Set by any thread."""

    def __attrs_post_init__(self) -> None:
        """Begin without jobs."""
        n_context = min(self.n_context, self.sequences.backend.n_cells)
        slices = self.slices or SliceSize.fixed(self.sequences.backend.n_slice)
        self._turns = Turns(self.sequences, n_context, lambda: self._has_urgent, slices)

    # Called from any thread

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def submit(self, owner: Owner, decoding: Decoding, listener: Listener, *, is_ahead: bool) -> Job:
        """Add a job. An earlier job of the same document must have been cancelled."""
        client = self._clients.setdefault(owner.client, Client(owner.client))
        job = Job(client, owner, decoding, is_ahead, listener)
        self.call(lambda: self._turns.enqueue(job))
        if not is_ahead:
            self._has_urgent = True
        return job

    def cancel(self, job: Job, kept_answer: int = 0) -> None:
        """End a job and notify its listener. Of its answers only the cells of `kept_answer` stay."""
        job.is_cancelled = True
        self.call(lambda: self._turns.finish(job, kept_answer=kept_answer))

    def drop(self, job: Job, number: int) -> None:
        """End one answer of a job."""
        self.call(lambda: self._turns.drop(job, number))

    def call(self, work: Callable[[], None]) -> None:
        """Call `work` on the model thread, between two turns."""
        self._inbox.put(work)

    def leave(self, client: str) -> None:
        """End the jobs of a client that has gone, and copy its documents out."""
        self._clients.pop(client, None)
        self.call(lambda: self._leave(client))

    def forget(self, client: str) -> None:
        """Drop what is cached for a client and for those that have gone, and the files of documents of no other one."""
        others = self._clients.keys() - {client}
        self.call(lambda: self.sequences.forget_all_but(others))

    def persist(self, owner: Owner) -> None:
        """Write a document's state to disk, if states go there."""
        self.call(lambda: self.sequences.persist(owner))

    def cached(self, client: str) -> list[CachedDocument]:
        """Return what is cached for a client, most recently used first. Files belong to every client."""
        return self.sequences.cached(client)

    def close(self, timeout_s: float) -> bool:
        """End all jobs, persist everything and end the thread; return false if it is still busy after `timeout_s`."""
        for job in list(self._turns.jobs):
            job.is_cancelled = True
        self.call(self._end_all)
        self._inbox.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    # Called on the model thread

    def scratch(self) -> int:
        """Return an empty sequence for measuring, until the next turn. Raises `EngineError`."""
        return self.sequences.scratch()

    def _run(self) -> None:
        try:
            has_more = False
            while self._read_inbox(waits=not has_more):
                has_more = self._turns.turn()
        except BaseException:
            self.on_death()
            raise

    def _read_inbox(self, *, waits: bool) -> bool:
        """Make the calls that came; return false at the end."""
        self._has_urgent = False
        while True:
            try:
                work = self._inbox.get(block=waits)
            except Empty:
                return True
            if work is None:
                return False
            work()
            waits = False

    def _leave(self, client: str) -> None:
        for job in [job for job in self._turns.jobs if job.owner.client == client]:
            self._turns.finish(job)
        self.sequences.leave(client)

    def _end_all(self) -> None:
        for job in list(self._turns.jobs):
            self._turns.finish(job)
        self.sequences.persist_all()
