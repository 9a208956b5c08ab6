"""The process of one session: its start, the bytes to and from it, and how it ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from starcoder_lsp import black_box
from starcoder_lsp.front.framing import Frames, framed

COMMAND: tuple[str, ...] = (sys.executable, "-m", "starcoder_lsp.lsp.run")
IS_POSIX: Final = os.name == "posix"
LAST_WORDS_S: Final = 0.3
"""The time to read what is left in the pipe of an ended process; another process may hold the pipe open for longer."""
HIGHEST_EXIT_CODE: Final = 255
"""On Windows a higher exit code is that of a crash."""
NOT_OF_ITSELF: Final = frozenset(
    getattr(signal, name) for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)
"""Signals that come from outside and are no crash."""


class SessionProcess:
    """A running session. `on_message` and `on_end` are called on its reader's thread, `on_end` once."""

    def __init__(
        self,
        command: tuple[str, ...],
        on_message: Callable[[SessionProcess, bytes], None],
        on_end: Callable[[SessionProcess], None],
    ) -> None:
        self.was_silent = False
        """True if the front ended it because it did not answer."""
        self._box = _make_box()
        environment = {**os.environ} if self._box is None else {**os.environ, black_box.ENVIRONMENT: str(self._box)}
        self._process = subprocess.Popen(  # noqa: S603 -- our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            pass_fds=() if self._box is None else (self._box,),
            bufsize=0,
        )
        assert self._process.stdin is not None  # noqa: S101 -- as asked for
        assert self._process.stdout is not None  # noqa: S101 -- as asked for
        self._input, self._output = self._process.stdin.fileno(), self._process.stdout.fileno()
        if IS_POSIX:
            os.set_blocking(self._input, False)
        self._on_message, self._on_end = on_message, on_end
        self._to_write: deque[bytes] = deque()
        self._has_more = threading.Condition()
        self._is_closed = False
        self._reader = threading.Thread(target=self._read, name="session output", daemon=True)
        self._reader.start()
        threading.Thread(target=self._await_end, name="session end", daemon=True).start()
        threading.Thread(target=self._write, name="session input", daemon=True).start()

    def send(self, body: bytes) -> None:
        """Send a message, at once if the session reads, otherwise as soon as it does. Never waits."""
        data = framed(body)
        with self._has_more:
            if self._is_closed:
                return
            if not self._to_write and IS_POSIX:
                data = data[self._write_now(data) :]
            if data:
                self._to_write.append(data)
                self._has_more.notify()

    def send_message(self, method: str, params: Any, msg_id: str | None = None) -> None:
        """Send a notification of the front's own, or a request with an id."""
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.send(json.dumps(message if msg_id is None else {**message, "id": msg_id}).encode())

    def close(self) -> None:
        """Send no more: the session ends when it has read what was sent."""
        with self._has_more:
            self._is_closed = True
            self._has_more.notify()

    def kill(self, *, is_silent: bool = False) -> None:
        """End it at once."""
        self.was_silent = self.was_silent or is_silent
        self._process.kill()

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end and for its last messages; return whether the end came."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        if threading.current_thread() is not self._reader:
            self._reader.join(LAST_WORDS_S)
        return True

    @property
    def id(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def has_crashed(self) -> bool:
        """Return whether it crashed or did not answer. A signal from outside, such as a user's `kill`, is no crash."""
        code = self._process.poll() or 0
        return self.was_silent or code > HIGHEST_EXIT_CODE or (code < 0 and -code not in NOT_OF_ITSELF)

    def how_it_ended(self) -> str:
        """Return the end in a few words."""
        if self.was_silent:
            return "it did not answer"
        code = self._process.wait()
        if code < 0:
            try:
                return signal.Signals(-code).name
            except ValueError:
                return f"signal {-code}"
        return f"exit code {code}"

    def worked_on(self) -> list[str]:
        """Return the documents that it worked on when it ended, the likeliest cause first; none if it is not known."""
        if self._box is None:
            return []
        try:
            return black_box.notes(os.pread(self._box, black_box.N_BYTES, 0))
        finally:
            os.close(self._box)
            self._box = None

    def _write_now(self, data: bytes) -> int:
        """Write what the pipe takes without waiting; return how much that was."""
        try:
            return os.write(self._input, data)
        except BlockingIOError:
            return 0
        except OSError:  # it has ended; its reader says so
            self._is_closed = True
            return len(data)

    def _write(self) -> None:
        while True:
            with self._has_more:
                while not self._to_write and not self._is_closed:
                    self._has_more.wait()
                if not self._to_write:
                    break
                data = self._to_write[0]
            n_written = self._write_patiently(data)
            with self._has_more:
                if self._to_write and self._to_write[0] is data:
                    self._to_write[0] = data[n_written:]
                    if not self._to_write[0]:
                        self._to_write.popleft()
        self._process.stdin.close()  # type: ignore[union-attr]  # it is a pipe

    def _write_patiently(self, data: bytes) -> int:
        """Write some bytes as soon as the session reads; all of them are gone if it has ended."""
        try:
            if IS_POSIX:
                select.select([], [self._input], [])
            return os.write(self._input, data)
        except BlockingIOError:
            return 0
        except (OSError, ValueError):
            with self._has_more:
                self._is_closed = True
            return len(data)

    def _read(self) -> None:
        frames = Frames(lambda n_bytes: os.read(self._output, n_bytes))
        while (body := frames.read()) is not None:
            self._on_message(self, body)

    def _await_end(self) -> None:
        self._process.wait()
        self._reader.join(LAST_WORDS_S)
        self.close()
        self._on_end(self)


def _make_box() -> int | None:
    """Return the descriptor of a file of N_BYTES without a name, `None` where there are none to hand on."""
    if not IS_POSIX:
        return None
    try:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("starcoder-lsp")
        else:
            import tempfile

            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.truncate(descriptor, black_box.N_BYTES)
    except OSError:
        return None
    return descriptor
