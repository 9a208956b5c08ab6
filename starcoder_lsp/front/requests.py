"""The editor's requests that wait for the session, in the order in which they came."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from starcoder_lsp.front.pending import METRICS, NO_METRICS, REQUEST_CANCELLED, Pending, key_of

NEVER: Final = float("inf")


class Requests:
    """The requests by id; a client that uses an id twice gets two replies. Under the front's lock."""

    def __init__(self) -> None:
        self._by_key: dict[str, list[Pending]] = {}
        self._last_metrics: tuple[float, Any] = time.monotonic(), NO_METRICS

    def __iter__(self) -> Iterator[Pending]:
        """Iterate over a snapshot."""
        return iter([pending for queue in self._by_key.values() for pending in queue])

    def __bool__(self) -> bool:
        """Return whether any waits."""
        return bool(self._by_key)

    def add(self, pending: Pending) -> None:
        """Take a request."""
        self._by_key.setdefault(key_of(pending.id) or "", []).append(pending)

    def with_id(self, msg_id: Any) -> list[Pending]:
        """Return those with an id."""
        return self._by_key.get(key_of(msg_id) or "", [])

    def pop(self, msg_id: Any) -> Pending | None:
        """Remove the first with an id, which the session has answered; `None` if there is none."""
        queue = self.with_id(msg_id)
        if not queue:
            return None
        pending = queue.pop(0)
        if not queue:
            del self._by_key[key_of(msg_id) or ""]
        return pending

    def forget_answered(self, *, only_unsent: bool = False) -> None:
        """Drop those that are answered and that the session will not answer any more."""
        for key, queue in list(self._by_key.items()):
            queue[:] = [each for each in queue if not each.is_answered or (only_unsent and each.sent_at is not None)]
            if not queue:
                del self._by_key[key]

    def begin(self) -> None:
        """Let the time of those begin that have waited for the first session's start."""
        for pending in self:
            if pending.sent_at is not None and pending.due_at == NEVER:
                pending.begin()

    def note_reply(self, pending: Pending, message: dict[str, Any]) -> None:
        """Keep the newest counters, for when the session does not answer."""
        if pending.method == METRICS and "result" in message:
            self._last_metrics = time.monotonic(), message["result"]

    def fallback(self, pending: Pending) -> dict[str, Any]:
        """Return the front's reply to a request, which counts as answered from now on."""
        pending.is_answered = True
        reply = pending.fallback()
        if pending.method == METRICS:
            at, report = self._last_metrics
            reply = {**reply, "result": {**report, "staleMs": round((time.monotonic() - at) * 1000)}}
        return reply

    def answer(self, until: float = NEVER) -> Iterator[dict[str, Any]]:
        """Yield the front's replies to requests whose deadline is `until` or earlier."""
        for pending in self:
            if pending.due_at <= until and not pending.is_answered:
                yield self.fallback(pending)

    def answer_sent(self) -> Iterator[dict[str, Any]]:
        """Yield the front's replies to requests that an ended session had. The next session gets `initialize` again."""
        for pending in self:
            if pending.sent_at is not None and pending.method != "initialize" and not pending.is_answered:
                yield self.fallback(pending)
            pending.sent_at = None
        self.forget_answered()

    def cancel(self, params: Any) -> Iterator[dict[str, Any]]:
        """Yield replies to cancelled requests that no session has."""
        for pending in self.with_id(params.get("id") if isinstance(params, dict) else None):
            if pending.sent_at is None and not pending.is_answered:
                pending.is_answered = True
                error = {"code": REQUEST_CANCELLED, "message": "the request was cancelled"}
                yield {"id": pending.id, "error": error}
        self.forget_answered()

    def next_due(self) -> float:
        """Return the deadline at which the front answers the next one."""
        return min((each.due_at for each in self if not each.is_answered), default=NEVER)

    def next_overdue(self) -> float:
        """Return the time from which on the session counts as stuck with one of the requests."""
        return min((each.overdue_at for each in self if _ends_session(each)), default=NEVER)


def _ends_session(pending: Pending) -> bool:
    return pending.sent_at is not None and pending.method != METRICS
