"""A benchmark ends at its time limit, estimates the time left, and keeps its results after Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench.pace import (
    MAX_SILENT_S,
    Limits,
    Watched,
    run_interruptible,
    spelled_s,
    until_interrupted,
    watching,
)
from starcoder_lsp.cli.models.progress import watching_bytes


def clocked(n_items: int, item_s: float, seconds: float | None) -> tuple[Watched[int], list[int]]:
    """Return items that take `item_s` seconds each on a simulated clock, and the list of those worked on."""
    now = [100.0]
    watched = Watched(range(n_items), Limits(n_items, seconds), "working", clock_s=lambda: now[0])
    done = []
    for item in watched:
        done.append(item)
        now[0] += item_s
    return watched, done


@given(st.integers(1, 50), st.floats(0.1, 10), st.floats(0.1, 100))
def test_nothing_new_begins_after_the_limit(n_items: int, item_s: float, seconds: float) -> None:
    watched, done = clocked(n_items, item_s, seconds)
    assert done == list(range(watched.n_done))
    last_began_s = (watched.n_done - 1) * item_s
    assert watched.n_done == 1 or last_began_s < seconds + 1e-6
    assert watched.n_done == n_items or watched.n_done * item_s >= seconds - 1e-6
    assert watched.is_late == (watched.n_done < n_items)
    assert watched.is_whole != watched.is_late
    assert not watched.is_interrupted
    assert watched.end == (f"ended after {seconds:g} s: {watched.n_done} of {n_items}" if watched.is_late else "")


def test_the_time_left_is_estimated_from_the_items_done() -> None:
    now = [0.0]
    for seconds, left_s in ((None, 15.0), (20.0, 15.0), (6.0, 1.0), (1.0, 0.0)):
        watched = Watched(range(4), Limits(4, seconds), "working", clock_s=lambda: now[0])
        now[0] = 0.0
        items = iter(watched)
        next(items)
        now[0] = 5.0
        watched.n_done = 1
        assert watched.left_s == left_s


def test_without_a_terminal_progress_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    watched = Watched(range(10), Limits(10, None), "working", clock_s=lambda: now[0])
    watched.on_progress = watched.speak
    for _ in watched:
        now[0] += MAX_SILENT_S / 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"starcoder-lsp: working: {n} of 10, about {spelled_s((10 - n) * MAX_SILENT_S / 2)} left" for n in (2, 4, 6, 8)
    ]


@pytest.mark.parametrize("watch", [partial(watching, [1], 1), partial(watching_bytes, 1)])
def test_a_bar_shows_any_text(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    watch: Callable[[str], AbstractContextManager[object]],
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("NO_COLOR", "1"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    with watch("filling, [slug] a=[/b]"):
        pass
    assert "filling, [slug] a=[/b]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("n_items", "seconds", "limits"),
    [
        (None, None, Limits(200, 60.0)),
        (4000, None, Limits(4000, None)),  # a number of items alone sets no time limit
        (None, 5.0, Limits(200, 5.0)),
        (4000, 5.0, Limits(4000, 5.0)),
    ],
)
def test_options_replace_the_default_limits(n_items: int | None, seconds: float | None, limits: Limits) -> None:
    assert Limits(200, 60.0).with_options(n_items, seconds) == limits


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_an_invalid_time_limit_is_refused(seconds: float) -> None:
    with pytest.raises(CommandError, match="--seconds"):
        Limits(200, 60.0).with_options(None, seconds)


def interrupted_items(n_before: int) -> Iterator[int]:
    yield from range(n_before)
    signal.raise_signal(signal.SIGINT)
    yield n_before


def test_ctrl_c_keeps_the_results_so_far() -> None:
    async def work() -> list[int]:
        done = []
        with until_interrupted():
            for item in watched:
                await asyncio.sleep(0)
                done.append(item)
        await asyncio.sleep(0)  # code behind the block is not interrupted
        return done

    with watching(interrupted_items(3), 10, "working") as watched:
        assert run_interruptible(work()) == [0, 1, 2]
    assert watched.is_interrupted
    assert watched.end == "ended by Ctrl-C: 3 of 10"


def test_ctrl_c_before_the_first_result_ends_the_program() -> None:
    before = signal.getsignal(signal.SIGINT)

    async def work() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)

    with pytest.raises(CommandError, match="interrupted"):
        run_interruptible(work())
    assert signal.getsignal(signal.SIGINT) is before
