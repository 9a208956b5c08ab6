"""The sessions of one editor, one after another: which requests each has sent to the editor, and why it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from starcoder_lsp.front.pending import key_of
from starcoder_lsp.front.suspects import Suspects

if TYPE_CHECKING:
    from starcoder_lsp.front.open_texts import OpenTexts
    from starcoder_lsp.front.session_process import SessionProcess

Message = dict[str, Any]

INFO, WARNING = 3, 2
LOADING: Final = "starcoder-loading-"
"""The token of progress begins so if a session loads its model."""
N_QUICK_STARTS: Final = 3
"""After so many sessions in a row that ended without an answer, the next one starts after a pause."""
MAX_PAUSE_S: Final = 30.0
LONG_LIFE_S: Final = 10.0
"""A session that ran for this long counts as well started."""


class Lives:
    """The sessions of one editor."""

    def __init__(self) -> None:
        self.is_up = False
        """True if this session reads messages: it has started, and has had `initialize`."""
        self.has_been_up = False
        """True if any session was."""
        self.suspects = Suspects()
        self._n_lives = 0
        self._n_ends = 0
        """Since a session last answered or lived long."""
        self.began_at = 0.0
        self._asked: set[str] = set()
        self._registered: set[str] = set()
        self._shown: set[str] = set()
        """Tokens of progress that the editor shows."""
        self._hidden: set[Any] = set()
        self._last_loading = 0
        """The session, by its number, that last showed a load; 0 for none."""

    def begin(self) -> None:
        """Note that a session starts."""
        self._n_lives += 1
        self.began_at = time.monotonic()
        self.is_up = False
        self._asked.clear()
        self._hidden.clear()

    def note_up(self) -> None:
        """Note that the session reads messages."""
        self.is_up = self.has_been_up = True

    def count_answer(self) -> None:
        """Note that a session answers: it has started well."""
        self._n_ends = 0

    def is_asked(self, key: str | None) -> bool:
        """Return whether this session sent the request that the editor replies to now. Each reply is taken once."""
        if key in self._asked:
            self._asked.discard(key or "")
            return True
        return False

    def take_request(self, message: Message) -> Message | None:
        """Take a request of the session's. Return the reply if the editor has answered it to an earlier session."""
        method, params = message["method"], message.get("params") or {}
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": None}
        if method == "client/registerCapability":
            ids = {str(each.get("id")) for each in params["registrations"]}
            if ids <= self._registered:
                return reply
            self._registered |= ids
        if method == "window/workDoneProgress/create" and str(params["token"]).startswith(LOADING):
            if not self._hidden and 0 < self._last_loading < self._n_lives:
                self._hidden.add(params["token"])  # the model is loaded: an earlier session has shown it
                return reply
            self._last_loading = self._n_lives
        self._asked.add(key_of(message["id"]) or "")
        return None

    def take_notification(self, message: Message) -> bool:
        """Take a notification of the session's; return whether to forward it to the editor."""
        if message["method"] != "$/progress":
            return True
        token, kind = message["params"]["token"], message["params"]["value"].get("kind")
        if token in self._hidden:
            return False
        if kind == "begin":
            self._shown.add(token)
        elif kind == "end":
            self._shown.discard(token)
        return True

    def close_progress(self) -> Iterator[Message]:
        """Yield the ends of the progress that an ended session had begun."""
        for token in self._shown:
            value = {"kind": "end"}
            yield {"jsonrpc": "2.0", "method": "$/progress", "params": {"token": token, "value": value}}
        self._shown.clear()

    def end(self, session: SessionProcess, texts: OpenTexts) -> Iterator[tuple[str, int]]:
        """Find out why a session ended; yield lines to show to the user or to log."""
        self._n_ends = 1 if time.monotonic() - self.began_at > LONG_LIFE_S else self._n_ends + 1
        suspect = next(iter(session.worked_on()), "")
        is_to_blame = session.has_crashed or self.suspects.has_been_killed_on(suspect)
        n_changed, _ = texts.extent(suspect) or (0, 0)
        line = self.suspects.blame(suspect, n_changed) if suspect and is_to_blame else ""
        if line:
            yield line, WARNING
        yield f"the session ended ({session.how_it_ended()}) and starts again", INFO

    def has_never_started(self) -> bool:
        """Return whether no session ever started: another try would end as these did."""
        return not self.has_been_up and self._n_ends >= N_QUICK_STARTS

    def pause_s(self) -> float:
        """Return for how long the next session waits."""
        n_too_many = self._n_ends - N_QUICK_STARTS
        return min(MAX_PAUSE_S, 2.0 ** min(n_too_many, 10)) if n_too_many >= 0 else 0.0
