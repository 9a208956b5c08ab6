"""The front: relays messages between editor and session, keeps what a new session needs, and answers in its place.

Three threads share one lock: one reads the editor's messages, one those of the session, and a timer watches deadlines.
Only the session's reader and the timer write to the editor, so one that does not read holds up nothing it sends.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from itertools import chain
from typing import Any, BinaryIO, Final

from starcoder_lsp.front import session_process
from starcoder_lsp.front.editor_process import watch_editor
from starcoder_lsp.front.framing import Frames, bodies, parsed
from starcoder_lsp.front.lives import Lives
from starcoder_lsp.front.output import Output
from starcoder_lsp.front.pending import Pending, key_of
from starcoder_lsp.front.replay import CHOSEN, Replay
from starcoder_lsp.front.requests import NEVER, Requests
from starcoder_lsp.front.session_process import SessionProcess
from starcoder_lsp.front.watchdog import PING_INTERVAL_S, START_TIMEOUT_S, Watchdog

OWN: Final = "starcoder-front:"
"""Ids of the front's own requests begin so."""
DEADLINE: Final = "starcoder/deadline"
"""The notification by which the session tells the front how long a completion may take. The editor does not get it."""
QUARANTINE: Final = "starcoder/quarantine"
EXIT_TIMEOUT_S: Final = 1.8
"""The process must end within two seconds of `exit`. A session that still starts answers `initialize` before."""
LAST_WRITES_S: Final = 10.0
"""Further time for a session that has answered `shutdown`: it ends by itself unless the machine is overloaded."""
END_TIMEOUT_S: Final = 0.5  # for a session whose editor is gone
PARSE_ERROR, INVALID_REQUEST = -32700, -32600

Message = dict[str, Any]


class Relay:
    """One editor's connection. `run` serves it and ends the process; one that `is_child` ends with its editor too."""

    def __init__(self, output: BinaryIO, *, is_child: bool, command: tuple[str, ...] = ()) -> None:
        self._is_child = is_child
        self._command = command or session_process.COMMAND
        self._lock = threading.RLock()
        self._out = Output(output, self._lock, on_lost=self._exit)
        self._requests = Requests()
        self._lives = Lives()
        self._replay = Replay()
        self._watchdog = Watchdog(self._out, self._requests)
        self._is_ready = True
        """True if messages go straight to the session, which reads them when it has started."""
        self._was_shut_down = self._is_ending = self._is_leaving = self._was_never_up = False
        self._restart_at = self._wakes_at = NEVER
        self.session = self._start()

    def run(self, receive: Callable[[int], bytes], first: bytes | None = None) -> None:
        """Relay until the editor leaves, then end the process. `first` is a message that was read before."""
        threading.Thread(target=self._watch, name="timer", daemon=True).start()
        for body in chain(() if first is None else (first,), bodies(Frames(receive), self._refuse_lengths)):
            self._on_editor(body)
        self.leave(END_TIMEOUT_S)

    def _refuse_lengths(self) -> None:
        with self._lock:
            self._out.queue_error(None, PARSE_ERROR, "a header has two content lengths")

    def leave(self, timeout_s: float) -> None:
        """End the session, at once if it does not end itself in time, and the process."""
        with self._lock:
            self._is_leaving = True
            session = self.session
            session.close()
        if not session.wait(timeout_s) and not (self._is_ending and session.wait(LAST_WRITES_S)):
            session.kill()
        with self._lock:
            self._out.queue_all(self._requests.answer())
            last = self._out.take()
        self._out.write_last(last)
        self._exit()

    def _exit(self) -> None:
        os._exit(0 if self._was_shut_down else 1)

    def _on_editor(self, body: bytes) -> None:
        message = parsed(body)
        method = message.get("method") if isinstance(message, dict) else None
        is_reply = isinstance(message, dict) and "method" not in message and bool(message.keys() & {"result", "error"})
        with self._lock:
            if method == "exit":
                self.session.send(body)
            elif isinstance(message, dict) and not is_reply and key_of(message.get("id")) is not None:
                self._take_request(message, method if isinstance(method, str) else "", body)
            elif is_reply or not isinstance(method, str):
                self._take_other(message, body, is_reply=is_reply)
            else:
                self._take_notification(message, body)
        if method == "exit":
            self.leave(EXIT_TIMEOUT_S if self._replay.is_initialized else START_TIMEOUT_S)

    def _take_other(self, message: Any, body: bytes, *, is_reply: bool) -> None:
        """Take the reply to a request of the session's, or a body that is no message."""
        if is_reply and not self._lives.is_asked(key_of(message.get("id"))):
            return  # the session that asked has ended
        if self._is_ready:
            self.session.send(body)
            self._ping()
        elif not is_reply:
            self._out.queue_error(None, PARSE_ERROR, "this is no message, or the session starts")

    def _take_request(self, message: Message, method: str, body: bytes) -> None:
        if self._was_shut_down:
            self._out.queue_error(message["id"], INVALID_REQUEST, f"{method!r} came after 'shutdown'")
            return
        self._was_shut_down = method == "shutdown" and self._replay.has_begun
        if method == "initialize":
            if self._is_child:
                watch_editor(message.get("params"), lambda: self.leave(END_TIMEOUT_S))
            body = self._replay.initialize(message)
        self._replay.take(method, message.get("params"))  # a notification with an id is one still
        pending = Pending(message["id"], method, body, self._watchdog.completion_s)
        if not self._lives.has_been_up:
            pending.wait_for_start()
        self._requests.add(pending)
        if self._is_ready:
            self._forward(pending)
        if min(pending.due_at, time.monotonic() + PING_INTERVAL_S) < self._wakes_at:
            self._out.wake.notify()  # the timer looks at all that wait: not for each of 500 requests at once

    def _take_notification(self, message: Message, body: bytes) -> None:
        method, params = message["method"], message.get("params")
        if method in (QUARANTINE, DEADLINE, CHOSEN):
            return
        self._replay.take(method, params)
        self._replay.texts.fold_if_long(self._lock)
        if self._is_ready:
            self.session.send(body)
            self._ping()
        if method == "$/cancelRequest" and not self._is_ready:
            self._out.queue_all(self._requests.cancel(params))
        if self._lives.suspects.free(self._replay.texts.extent):
            self.session.send_message(QUARANTINE, self._lives.suspects.as_json())

    def _forward(self, pending: Pending) -> None:
        pending.send()
        self.session.send(pending.body)
        self._ping()

    # From the session

    def _on_session(self, session: SessionProcess, body: bytes) -> None:
        message = json.loads(body)
        method, is_for_editor = message.get("method"), True
        with self._lock:
            if session is not self.session:
                return
            if method is None:
                is_for_editor = self._take_reply(message)
            elif "id" in message:
                answer = self._lives.take_request(message)
                is_for_editor = answer is None
                if answer is not None:
                    session.send(json.dumps(answer).encode())
            elif method == DEADLINE:
                self._watchdog.completion_s, is_for_editor = message["params"]["completionMs"] / 1000, False
            elif method == CHOSEN:
                self._replay.chosen, is_for_editor = message["params"], False
            else:
                is_for_editor = self._lives.take_notification(message)
        if is_for_editor:
            self._out.write(body)

    def _take_reply(self, message: Message) -> bool:
        """Take a reply of the session's; return whether to forward it to the editor."""
        msg_id = message.get("id")
        if isinstance(msg_id, str) and msg_id.startswith(OWN):
            self._take_own(msg_id)
            return False
        pending = self._requests.pop(msg_id)
        if pending is None:
            return msg_id is None
        self._is_ending = self._is_ending or pending.method == "shutdown"
        self._requests.note_reply(pending, message)
        if pending.method == "initialize" and "result" in message:
            self._replay.accept(pending.body, message["result"])
            self._await_start()
        if self._lives.is_up:
            self._lives.count_answer()
        return not pending.is_answered

    def _take_own(self, msg_id: str) -> None:
        if msg_id == f"{OWN}ping":
            self._watchdog.take_ping()
        elif msg_id == f"{OWN}start":
            self._lives.note_up()
            self._watchdog.note_up()
            self._requests.begin()
            self._out.wake.notify()
        elif msg_id == f"{OWN}initialize":
            self._await_start()
            for method, params in self._replay.messages(self._lives.suspects.as_json()):
                self.session.send_message(method, params)
            self._is_ready = True
            for pending in self._requests:
                if pending.sent_at is None and not pending.is_answered:
                    self._forward(pending)

    def _await_start(self) -> None:
        """Ask the session, which has answered `initialize`, for a sign that it reads messages now."""
        self._watchdog.await_start()
        self.session.send_message("starcoder/alive", None, f"{OWN}start")

    def _on_end(self, session: SessionProcess) -> None:
        """Answer the requests that wait, report why the session ended, and start a new one."""
        with self._lock:
            if session is not self.session or self._is_leaving:
                return
            if self._was_shut_down:
                self._out.queue_all(self._requests.answer())  # no other session will
                return
            for line, kind in self._lives.end(session, self._replay.texts):
                self._out.queue_line(line, kind)
            self._out.queue_all(self._lives.close_progress())
            self._out.queue_all(self._requests.answer_sent())
            self._is_ready = False
            self._watchdog.forget_ping()
            self._was_never_up = self._lives.has_never_started()
            if not self._was_never_up:
                self._restart_at = time.monotonic() + self._lives.pause_s()
            self._out.wake.notify()

    def _restart(self) -> None:
        """Start a new session. On the timer's thread: Linux ends a session with the thread that started it."""
        self._restart_at = NEVER
        if self._was_shut_down:
            self._out.queue_all(self._requests.answer())
        if self._was_shut_down or self._is_leaving:
            return
        self.session = self._start()
        if self._replay.is_initialized:
            self.session.send(self._replay.again(f"{OWN}initialize"))
            return
        self._is_ready = True  # it died before its reply to `initialize`, or before the editor's request
        for pending in self._requests:
            self._forward(pending)

    def _start(self) -> SessionProcess:
        self._lives.begin()
        if self._replay.is_initialized:
            self._watchdog.await_start()
        return SessionProcess(self._command, self._on_session, self._on_end)

    # The timer

    def _watch(self) -> None:
        while True:
            with self._lock:
                self._wakes_at = time.monotonic() + (timeout_s := self._time_to_next())
                self._out.wake.wait(timeout_s)
                self._watchdog.note_waking(self._wakes_at)
                now = time.monotonic()
                self._out.queue_all(self._requests.answer(until=now))
                if self._restart_at <= now:
                    self._restart()
                elif self._is_watched and self._watchdog.is_due(now):
                    self.session.kill(is_silent=True)
                elif self._requests:
                    self._ping()
                self._requests.forget_answered(only_unsent=True)
                replies = self._out.take()
            for reply in replies:
                self._out.write(reply)
            if self._was_never_up:
                os._exit(1)

    def _time_to_next(self) -> float:
        """Return the seconds until something is to be done; under the lock."""
        if not self._out.is_empty or self._was_never_up:
            return 0.0
        now = time.monotonic()
        times = [self._restart_at, self._requests.next_due()]
        if self._is_watched:
            times.append(self._watchdog.next_time(now))
            if self._requests:
                times.append(now + PING_INTERVAL_S)
        return min(max(0.0, min(times) - now), threading.TIMEOUT_MAX)

    @property
    def _is_watched(self) -> bool:
        """Return whether there is a session that has to answer."""
        return not self.session.was_silent and self._restart_at == NEVER

    def _ping(self) -> None:
        """Ask the session whether it is alive, at most once a second."""
        if self._lives.is_up and self._is_ready and self._watchdog.ping():
            self.session.send_message("starcoder/alive", None, f"{OWN}ping")
            self._out.wake.notify()
