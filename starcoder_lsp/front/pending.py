"""A request that waits for the session: its deadline, and the front's reply if the session does not answer in time."""

from __future__ import annotations

import json
import time
from typing import Any, Final

METRICS: Final = "starcoder/metrics"
MARGIN_S: Final = 0.05
"""The time that the session may take beyond a request's deadline to write its reply; the promise is 100 ms."""
METRICS_DEADLINE_S: Final = 0.08
QUICK_DEADLINE_S: Final = 2.0
"""The deadline of requests that need no model. Not measured."""
SHUTDOWN_DEADLINE_S: Final = 1.0
OVERDUE_S: Final = 1.0
MIN_SILENCE_S: Final = 2.5
"""A session that is silent for less is not taken for stuck: a parse may take half a second, more on a busy machine."""
REQUEST_FAILED: Final = -32803
REQUEST_CANCELLED: Final = -32800

_QUICK: Final = frozenset({"textDocument/codeAction"})
_UNLIMITED: Final = frozenset({"initialize", "workspace/executeCommand"})
"""Requests without a deadline: they may load a model."""
_FAILING: Final = frozenset({"initialize", "workspace/executeCommand", "codeAction/resolve"})


NO_METRICS: Final = {
    "requests": dict.fromkeys(("total", "answered", "empty", "superseded", "cancelled", "failed"), 0),
    "tokens": dict.fromkeys(("prompt", "reused", "evaluated", "ahead", "generated", "uncounted"), 0),
    "latencyMs": {"count": 0, "p50": None, "p95": None, "evaluation": 0.0},
    "documents": [],
    "model": None,
    "suggestions": dict.fromkeys(("offered", "shown", "accepted", "partly", "rejected"), 0),
}
"""The answer to `starcoder/metrics` before a session has given one."""


class Pending:
    """A request of the editor's. It is answered once, by the session or by the front."""

    def __init__(self, msg_id: Any, method: str, body: bytes, completion_s: float) -> None:
        self.id, self.method, self.body = msg_id, method, body
        self.sent_at: float | None = None
        """The time at which the session got it; `None` before that."""
        self.is_answered = False
        self._deadline_s = deadline_s(method, completion_s)
        self.due_at = time.monotonic() + self._deadline_s
        self.overdue_at = float("inf")

    def send(self) -> None:
        """Note that a session gets it. The deadline counts from now, also if a restart has taken some of the time."""
        self.sent_at = time.monotonic()
        self.overdue_at = self.sent_at + max(self._deadline_s + OVERDUE_S, MIN_SILENCE_S)

    def wait_for_start(self) -> None:
        """Set no deadline yet: the first session starts, and then reads what has come."""
        self.due_at = float("inf")

    def begin(self) -> None:
        """Let its time begin: the session reads it now."""
        self.due_at = time.monotonic() + self._deadline_s
        self.send()

    def fallback(self) -> dict[str, Any]:
        """Return the front's own reply: an empty result, or an error."""
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": self.id}
        if self.method in _FAILING:
            message = "the work did not end in time, or ended with its process; try again"
            return {**reply, "error": {"code": REQUEST_FAILED, "message": message}}
        if self.method == "textDocument/completion":
            return {**reply, "result": {"isIncomplete": True, "items": []}}
        return {**reply, "result": None}


def deadline_s(method: str, completion_s: float) -> float:
    """Return the deadline of a request in seconds; that of a completion is `completion_s`."""
    if method in _UNLIMITED:
        return float("inf")
    if method == METRICS:
        return METRICS_DEADLINE_S
    if method == "shutdown":
        return SHUTDOWN_DEADLINE_S
    if method in _QUICK:
        return QUICK_DEADLINE_S
    longest_s = 60.0 if method == "codeAction/resolve" else 0.0
    return max(completion_s, longest_s) + MARGIN_S


def key_of(msg_id: Any) -> str | None:
    """Return a key under which ids of different types differ, `None` for what is no id."""
    return json.dumps(msg_id) if isinstance(msg_id, int | str) and not isinstance(msg_id, bool) else None
