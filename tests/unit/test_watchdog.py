"""The time after which a session counts as silent, on a simulated clock."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace

import pytest

from starcoder_lsp.front import output, pending, requests, watchdog
from starcoder_lsp.front.output import STALLED_S, Output
from starcoder_lsp.front.pending import MIN_SILENCE_S, OVERDUE_S, Pending
from starcoder_lsp.front.requests import NEVER, Requests
from starcoder_lsp.front.watchdog import DEFAULT_COMPLETION_S, PING_INTERVAL_S, Watchdog

SILENCE_S = DEFAULT_COMPLETION_S + OVERDUE_S


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class SlowStream(io.BytesIO):
    """An editor's stream whose writes block for some time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def flush(self) -> None:
        self.clock.now += self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (output, pending, requests, watchdog):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def watching(clock: Clock, stall_s: float = 0.0) -> tuple[Watchdog, Requests, Output]:
    waiting = Requests()
    out = Output(SlowStream(clock, stall_s), threading.RLock(), on_lost=lambda: None)
    return Watchdog(out, waiting), waiting, out


def sent(waiting: Requests, method: str) -> Pending:
    sent_request = Pending(1, method, b"", DEFAULT_COMPLETION_S)
    waiting.add(sent_request)
    sent_request.send()
    return sent_request


def test_a_ping_without_reply_makes_a_session_silent_until_the_reply(clock: Clock) -> None:
    watched, _, _ = watching(clock)
    assert watched.next_time(clock.now) == NEVER
    assert watched.ping()
    assert not watched.ping()
    assert watched.next_time(clock.now) == clock.now + SILENCE_S
    watched.take_ping()
    assert not watched.ping(), "at most one a second"
    clock.now += PING_INTERVAL_S
    assert watched.ping()
    clock.now += SILENCE_S
    assert watched.is_due(clock.now)


@pytest.mark.parametrize(
    ("method", "after_s"),
    [
        ("textDocument/inlineCompletion", DEFAULT_COMPLETION_S + pending.MARGIN_S + OVERDUE_S),
        ("textDocument/codeAction", pending.QUICK_DEADLINE_S + OVERDUE_S),
        ("shutdown", MIN_SILENCE_S),
        ("starcoder/metrics", NEVER),
        ("initialize", NEVER),
    ],
)
def test_a_request_without_reply_makes_a_session_silent(clock: Clock, method: str, after_s: float) -> None:
    watched, waiting, _ = watching(clock)
    sent_request = Pending(1, method, b"", DEFAULT_COMPLETION_S)
    waiting.add(sent_request)
    clock.now += 7.0  # the time of a restart is not counted
    sent_request.send()
    assert watched.next_time(clock.now) == pytest.approx(clock.now + after_s)


def test_a_session_is_not_silent_while_the_editor_does_not_read(clock: Clock) -> None:
    watched, waiting, out = watching(clock, stall_s=60.0)
    sent(waiting, "textDocument/inlineCompletion")
    watched.ping()
    out.write(b"{}")
    assert not watched.is_due(clock.now)
    clock.now += SILENCE_S
    assert watched.is_due(clock.now)


def test_an_editor_that_reads_at_once_does_not_excuse_a_session(clock: Clock) -> None:
    watched, _, out = watching(clock, stall_s=STALLED_S)
    watched.ping()
    clock.now += SILENCE_S - STALLED_S
    out.write(b"{}")
    assert watched.is_due(clock.now)


def test_the_time_for_which_all_processes_were_stopped_is_not_silence(clock: Clock) -> None:
    watched, _, _ = watching(clock)
    watched.ping()
    planned_at = clock.now + PING_INTERVAL_S
    clock.now += 3600.0
    watched.note_waking(planned_at)
    assert not watched.is_due(clock.now)
    clock.now += SILENCE_S
    watched.note_waking(clock.now)
    assert watched.is_due(clock.now)
