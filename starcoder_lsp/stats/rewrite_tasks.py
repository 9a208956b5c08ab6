"""Group requests for rewrites into tasks: several requests at one place, until a version is kept, are one task."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from starcoder_lsp.stats.tracked import Splice

MAX_TASKS = 32
MAX_PAUSE_S = 600.0
"""A request this long after the last one at its place begins a new task. Not measured."""


@define(eq=False)
class _Task:
    uri: str
    kind: str
    start_byte: int
    since_s: float
    last_s: float
    numbers: set[int] = field(factory=set)


@define(eq=False)
class RewriteTasks:
    """The tasks of a session, the newest last. Times are monotonic seconds."""

    _tasks: list[_Task] = field(factory=list)

    def ask(self, uri: str, kind: str, start_byte: int, now_s: float) -> None:
        """Note a request for a rewrite of a kind whose hole begins at a byte."""
        task = self._find(uri, kind, start_byte)
        if task is None or now_s - task.last_s > MAX_PAUSE_S:
            self._tasks = [each for each in self._tasks if each is not task][-MAX_TASKS + 1 :]
            self._tasks.append(_Task(uri, kind, start_byte, now_s, now_s))
        else:
            task.last_s = now_s

    def offer(self, number: int, uri: str, kind: str) -> None:
        """Note the suggestion that answers the last request of a kind in a document."""
        task = next((each for each in reversed(self._tasks) if (each.uri, each.kind) == (uri, kind)), None)
        if task is not None:
            task.numbers.add(number)

    def waited_ms(self, number: int, now_s: float) -> float | None:
        """Return the time since the task's first request; `None` for a suggestion that is no rewrite."""
        task = next((each for each in self._tasks if number in each.numbers), None)
        return None if task is None else (now_s - task.since_s) * 1000

    def keep(self, number: int) -> None:
        """End the task of a version that is kept."""
        self._tasks = [each for each in self._tasks if number not in each.numbers]

    def edited(self, uri: str, splices: Sequence[Splice]) -> None:
        """Move the places along with the edits of a document."""
        for task in self._tasks:
            if task.uri == uri:
                for splice in splices:
                    if splice.end_byte <= task.start_byte and splice.start_byte < task.start_byte:
                        task.start_byte += splice.shift

    def _find(self, uri: str, kind: str, start_byte: int) -> _Task | None:
        same = (each for each in self._tasks if (each.uri, each.kind, each.start_byte) == (uri, kind, start_byte))
        return next(same, None)
