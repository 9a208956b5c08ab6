"""Adapt the gate to the suggestions that the user accepts, in small steps within bounds, and to other models.

Runs on the thread that writes the record.
"""

from __future__ import annotations

import json
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import define, evolve, field

from starcoder_lsp.stats.events import ACCEPTED, Ended, Event, Offered, Outcome
from starcoder_lsp.stats.gate import Gate, learnt_of, read_learnt, sigmoid

STEP = 0.01
"""The step of the weights for one outcome. Not measured."""
MAX_MOVED = 0.25
"""The largest learnt change of a weight. The largest trained weight is about 1.2."""
MAX_LOGIT = 60.0
"""Outcomes with larger logits, or none, teach nothing: a model whose log-probabilities are absurd, or no numbers."""
MAX_SHIFT = 0.5
"""The largest learnt change of the bias, for the model that the gate was trained with."""
N_FIT = 50
"""Outcomes from which on a temperature is fitted for a model that the weights were not trained for; again at each
doubling."""
N_HALVED = 40
"""The most halvings of a step, which then is too small to matter."""
N_OPEN = 1000


@define(eq=False)
class Learner:
    """Learns from the outcomes of one session. `on_change` gets each new gate, on the writer's thread."""

    gate: Gate
    path: Path
    model_hash: str
    on_change: Callable[[Gate], None] = lambda _gate: None
    _open: OrderedDict[int, tuple[float, ...]] = field(factory=OrderedDict)
    _seen: list[tuple[float, bool]] = field(factory=list)
    """Logits by the package's weights and whether the user accepted, until a temperature is fitted."""

    def take(self, events: Iterable[Event]) -> None:
        """Learn from events, and store the result."""
        before = self.gate
        for event in events:
            if isinstance(event, Offered) and event.features and event.alternative == 1:
                self._open[event.suggestion] = event.features
                while len(self._open) > N_OPEN:
                    self._open.popitem(last=False)
            elif isinstance(event, Ended) and event.suggestion in self._open:
                is_wanted = event.outcome in ACCEPTED or event.outcome is Outcome.TYPED
                self._learn(self._open.pop(event.suggestion), is_wanted=is_wanted)
        if self.gate is not before:
            self._keep()
            self.on_change(self.gate)

    def _learn(self, features: tuple[float, ...], *, is_wanted: bool) -> None:
        logit = self.gate.prior_logit(features)
        if not abs(logit) < MAX_LOGIT:
            return
        if not self.gate.is_fitted or self._seen:
            self._seen.append((logit, is_wanted))
            n = len(self._seen)
            if (n >= N_FIT and n & (n - 1) == 0) or n == N_FIT:
                temperature, shift = fit_temperature(self._seen)
                self.gate = evolve(self.gate, temperature=temperature, shift=shift, is_fitted=True)
        self.gate = stepped(self.gate, features, is_wanted=is_wanted)

    def _keep(self) -> None:
        with suppress(OSError):  # a full disk: it is learnt again
            write_learnt(self.path, self.model_hash, self.gate)


def stepped(gate: Gate, features: Sequence[float], *, is_wanted: bool) -> Gate:
    """Return the gate after a step of gradient descent for one outcome, within its bounds."""
    error = is_wanted - gate.probability(features)
    if not math.isfinite(error):  # a model whose log-probabilities are no numbers
        return gate
    moved = tuple(
        _within(moved + STEP * error * z, MAX_MOVED)
        for moved, z in zip(gate.moved, gate.standardized(features), strict=True)
    )
    shift = _within(gate.shift + STEP * error, MAX_SHIFT) if gate.temperature == 1.0 else gate.shift + STEP * error
    return evolve(gate, moved=moved, shift=shift, n_learnt=gate.n_learnt + 1)


def _within(value: float, bound: float) -> float:
    return max(-bound, min(bound, value)) if math.isfinite(value) else 0.0


def fit_temperature(seen: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Return temperature and shift for logits, by maximum likelihood (Platt, 1999) with a prior around 1 and 0.

    The loss is convex. A step of Newton's method that would raise it, as wide logits cause, is halved until it does
    not.
    """
    slope, shift = 1.0, 0.0
    for _ in range(50):
        g_slope, g_shift, h_slope, h_shift, h_both = 2 * (slope - 1.0), 0.2 * shift, 2.0, 0.2, 0.0
        for logit, is_wanted in seen:
            p = sigmoid(slope * logit + shift)
            weight, error = max(1e-6, p * (1 - p)), p - is_wanted
            g_slope, g_shift = g_slope + error * logit, g_shift + error
            h_slope, h_shift, h_both = h_slope + weight * logit**2, h_shift + weight, h_both + weight * logit
        determinant = h_slope * h_shift - h_both**2
        to_slope = -(h_shift * g_slope - h_both * g_shift) / determinant
        to_shift = -(h_slope * g_shift - h_both * g_slope) / determinant
        if slope == _bounded(slope + to_slope):  # at a bound
            to_slope, to_shift = 0.0, -g_shift / h_shift
        now = _loss(seen, slope, shift)
        steps = ((_bounded(slope + to_slope / 2**n), shift + to_shift / 2**n) for n in range(N_HALVED))
        better = next((step for step in steps if _loss(seen, *step) < now), None)
        if better is None:
            break
        slope, shift = better
    return 1 / slope, shift


def _bounded(slope: float) -> float:
    return max(0.1, min(5.0, slope))


def _loss(seen: Sequence[tuple[float, bool]], slope: float, shift: float) -> float:
    """Return the negative logarithm of likelihood and prior."""
    logits = ((slope * logit + shift) * (1 if is_wanted else -1) for logit, is_wanted in seen)
    return (slope - 1.0) ** 2 + 0.1 * shift**2 + sum(max(0.0, -x) + math.log1p(math.exp(-abs(x))) for x in logits)


def write_learnt(path: Path, model_hash: str, gate: Gate) -> None:
    """Write the values learnt for a model into the file, and keep those of other models. Raises `OSError`."""
    learnt = read_learnt(path) | {model_hash: learnt_of(gate)}
    written = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(learnt, file)
    written.replace(path)
