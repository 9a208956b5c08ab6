"""A model's drafts, recorded at places and replayed there without the model, and the suggestions made of them.

For `bench/postprocessing.py`: a change of the filters that only saves time gives the same suggestions from the same
drafts, and a replay takes milliseconds a place.
"""

from __future__ import annotations

import pickle
from pathlib import Path

from attrs import field, frozen

from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.engine.engine import Capabilities, CompletionOutput, Engine, Generation
from starcoder_lsp.steering import Writer
from starcoder_lsp.suggestions.forks import Fork


@frozen
class Step:
    """A call for drafts by the name of the `Writer`'s method, with its fork, and what the model answered."""

    name: str
    fork: Fork | None
    generation: Generation


@frozen
class Shown:
    """The result at a place: suggestions, the reason if there are none, and each filter's effect."""

    items: tuple[Item, ...]
    reason: str
    effects: tuple[str, ...]

    @classmethod
    def of(cls, completion: Completion) -> Shown:
        """Return what a completion shows."""
        return cls(completion.items, str(completion.reason), tuple(map(str, completion.filters)))


@frozen
class Recorded:
    """The calls at a place and what was shown there."""

    steps: tuple[Step, ...]
    shown: Shown


@frozen
class Recording:
    """The engine's capabilities, and its calls at each place by the place's name."""

    capabilities: Capabilities
    places: dict[str, Recorded]

    @classmethod
    def read(cls, path: Path) -> Recording | None:
        """Return what `write` has written, or `None` if there is no such file."""
        if not path.exists():
            return None
        found = pickle.loads(path.read_bytes())  # noqa: S301  the bench's own file
        return found if isinstance(found, cls) else None

    def write(self, path: Path) -> None:
        """Write to a file."""
        path.write_bytes(pickle.dumps(self))


@frozen
class RecordingWriter(Writer):
    """Writes drafts, and notes each call."""

    steps: list[Step] = field(factory=list)

    async def draft(self) -> Generation:
        """Write the first draft."""
        return self._noted("draft", None, await Writer.draft(self))

    async def others(self, n_answers: int, left_ms: float) -> Generation:
        """Write drafts that begin otherwise."""
        return self._noted("others", None, await Writer.others(self, n_answers, left_ms))

    async def go_on(self, output: CompletionOutput, at: Fork, left_ms: float) -> Generation:
        """Write on behind a fork."""
        return self._noted("go_on", at, await Writer.go_on(self, output, at, left_ms))

    def _noted(self, name: str, fork: Fork | None, generation: Generation) -> Generation:
        self.steps.append(Step(name, fork, generation))
        return generation


class OtherStepError(Exception):
    """A replay asks for another draft than was recorded. The text says which."""


@frozen
class ReplayingWriter(Writer):
    """Returns the recorded drafts, and calls the stop rule for each of their tokens, as a reader would."""

    left: list[Step] = field(factory=list)
    """The calls that are left, in order."""

    async def draft(self) -> Generation:
        """Return the first draft."""
        return self._next("draft", None)

    async def others(self, n_answers: int, left_ms: float) -> Generation:  # noqa: ARG002
        """Return the drafts that begin otherwise."""
        return self._next("others", None)

    async def go_on(self, output: CompletionOutput, at: Fork, left_ms: float) -> Generation:  # noqa: ARG002
        """Return the draft behind a fork."""
        return self._next("go_on", at)

    def _next(self, name: str, fork: Fork | None) -> Generation:
        step = self.left.pop(0) if self.left else None
        if step is None or (step.name, step.fork) != (name, fork):
            message = f"{name} {fork} in place of {step.name if step else 'nothing'} {step.fork if step else ''}"
            raise OtherStepError(message)
        begun = fork.kept + fork.forced if fork is not None else b""
        for each in step.generation.written:
            text, n_healed = b"", len(self.request.prompt.heal)
            for token_id in each.ids:
                text += self.piece(token_id)
                if len(text) - n_healed > len(begun):
                    self.rule(text[n_healed:])
        return step.generation


@frozen
class NoEngine:
    """Stands for the engine of a replay, which only says what the recorded one could do."""

    capabilities: Capabilities
    cache: None = None
    prefill_speed: float = 0.0


def engine_of(recording: Recording) -> Engine:
    """Return an engine for a replay. It generates nothing."""
    return NoEngine(recording.capabilities)  # type: ignore[return-value]  # `write_whole` reads its capabilities alone
