"""The gate: estimate by a logistic regression how likely a suggestion is right, and decide whether to show it.

The weights that come with the package were trained on holes with the demonstrator (`bench/gate.py`). Another model's
logits are divided by a temperature that is fitted on this machine. What the user accepts moves the weights in small
steps within bounds, see `gate_learning.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from starcoder_lsp.stats.gate_features import FEATURES

SHIPPED = Path(__file__).parent / "gate.json"
N_REASONS = 3
LEAST_REASON = 0.05
"""Smaller contributions to the logit are not reported as reasons."""


class GateError(ValueError):
    """A file has no weights of a gate. The error's text is one plain line."""


@frozen
class Gate:
    """Weights of the features, after each was shifted by `centres` and divided by `scales`.

    At `calm` 1 suggestions less probable than `threshold` are hidden. `moved` are the changes learnt on this machine
    from `n_learnt` outcomes. A gate that is not `is_fitted` to its model hides nothing.
    """

    centres: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    threshold: float
    model_hash: str = ""
    temperature: float = 1.0
    shift: float = 0.0
    moved: tuple[float, ...] = field(factory=lambda: (0.0,) * len(FEATURES))
    n_learnt: int = 0
    is_fitted: bool = True

    def standardized(self, features: Sequence[float]) -> list[float]:
        """Return features as the weights expect them."""
        columns = zip(features, self.centres, self.scales, strict=True)
        return [(value - centre) / scale for value, centre, scale in columns]

    def prior_logit(self, features: Sequence[float]) -> float:
        """Return the logit by the weights that come with the package."""
        return self.bias + sum(w * z for w, z in zip(self.weights, self.standardized(features), strict=True))

    def probability(self, features: Sequence[float]) -> float:
        """Return the probability that a suggestion with these features is right."""
        learnt = sum(w * z for w, z in zip(self.moved, self.standardized(features), strict=True))
        return sigmoid(self.prior_logit(features) / self.temperature + self.shift + learnt)

    def decide(self, features: Sequence[float], calm: float) -> Decision:
        """Return whether to show a suggestion. `calm` from 0 to 1 scales the threshold."""
        probability = self.probability(features)
        limit = calm * self.threshold if self.is_fitted else 0.0
        is_shown = not probability < limit  # also if the features are no numbers
        return Decision(probability, limit, is_shown, self._reasons(features))

    def _reasons(self, features: Sequence[float]) -> tuple[str, ...]:
        """Return the features that lower the probability most, the strongest first."""
        total = [w / self.temperature + moved for w, moved in zip(self.weights, self.moved, strict=True)]
        parts = [w * z for w, z in zip(total, self.standardized(features), strict=True)]
        worst = sorted(range(len(parts)), key=parts.__getitem__)[:N_REASONS]
        return tuple(f"{FEATURES[i]} {parts[i]:+.2f}" for i in worst if parts[i] < -LEAST_REASON)


@frozen
class Decision:
    """A decision: a suggestion is shown if its `probability` reaches `limit`. `reasons` lower it most."""

    probability: float
    limit: float
    is_shown: bool
    against: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the decision for `starcoder/explain`."""
        return {
            "probability": round(self.probability, 4),
            "limit": round(self.limit, 4),
            "shown": self.is_shown,
            "against": list(self.against),
        }


def sigmoid(logit: float) -> float:
    """Return the probability of a logit."""
    return 1 / (1 + math.exp(-logit)) if logit > 0 else math.exp(logit) / (1 + math.exp(logit))


@lru_cache(maxsize=1)
def shipped() -> Gate:
    """Return the gate that comes with the package."""
    return read_gate(SHIPPED.read_text("utf-8"))


def read_gate(text: str) -> Gate:
    """Read what `write_gate` wrote. Raises `GateError`, also for weights of other features."""
    try:
        given = json.loads(text)
        if given["features"] != list(FEATURES):
            message = "the gate's file is for other features"
            raise GateError(message)
        vectors = {name: tuple(map(float, given[name])) for name in ("centres", "scales", "weights")}
        if any(len(vector) != len(FEATURES) for vector in vectors.values()) or 0.0 in vectors["scales"]:
            message = "the gate's file has vectors of a wrong length"
            raise GateError(message)
        return Gate(
            centres=vectors["centres"],
            scales=vectors["scales"],
            weights=vectors["weights"],
            bias=float(given["bias"]),
            threshold=float(given["threshold"]),
            model_hash=str(given["model_hash"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        message = "the gate's file cannot be understood"
        raise GateError(message) from error
    except ValueError as error:
        raise error if isinstance(error, GateError) else GateError("the gate's file is no JSON") from error


def write_gate(gate: Gate) -> str:
    """Return the weights of a package as JSON."""
    rounded = {name: [round(value, 5) for value in getattr(gate, name)] for name in ("centres", "scales", "weights")}
    numbers = {"bias": round(gate.bias, 5), "threshold": round(gate.threshold, 5), "model_hash": gate.model_hash}
    return json.dumps({"features": list(FEATURES), **rounded, **numbers}, indent=1)


def with_learnt(gate: Gate, model_hash: str, learnt: Mapping[str, Any]) -> Gate:
    """Return the gate for a model, with what a file says was learnt for it; what is no such file is nothing."""
    is_own = model_hash == gate.model_hash
    mine = learnt.get(model_hash)
    if not isinstance(mine, Mapping):
        return evolve(gate, is_fitted=is_own)
    try:
        moved = tuple(map(float, mine["moved"]))
        temperature, shift = float(mine["temperature"]), float(mine["shift"])
        if len(moved) != len(FEATURES) or not all(map(math.isfinite, (*moved, temperature, shift))):
            return evolve(gate, is_fitted=is_own)
        return evolve(
            gate,
            temperature=max(0.1, temperature),
            shift=shift,
            moved=moved,
            n_learnt=int(mine["n"]),
            is_fitted=is_own or bool(mine["is_fitted"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return evolve(gate, is_fitted=is_own)


def learnt_of(gate: Gate) -> dict[str, Any]:
    """Return the values learnt for a model, as JSON for the file."""
    return {
        "moved": [round(value, 6) for value in gate.moved],
        "temperature": gate.temperature,
        "shift": gate.shift,
        "n": gate.n_learnt,
        "is_fitted": gate.is_fitted,
    }


def read_learnt(path: Path) -> dict[str, Any]:
    """Return the content of the file of learnt values; empty if it is missing or damaged."""
    try:
        given = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}
