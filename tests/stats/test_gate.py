"""The gate: its file survives a round trip, it learns within bounds, and it hides nothing by default."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random

import numpy as np
import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.stats.events import Conditions, Ended, Measures, Offered, Outcome
from starcoder_lsp.stats.gate import GateError, read_gate, read_learnt, shipped, sigmoid, with_learnt, write_gate
from starcoder_lsp.stats.gate_features import FEATURES, Ready, features_of
from starcoder_lsp.stats.gate_learning import MAX_MOVED, MAX_SHIFT, N_FIT, Learner, fit_temperature, stepped
from starcoder_lsp.stats.model_hash import hash_of_model

GOOD_LEARNT = {"moved": [0.0] * len(FEATURES), "temperature": 1, "shift": 0, "n": 0, "is_fitted": True}
NO_NUMBERS = (math.nan, math.inf, -math.inf)
VALUES = st.lists(st.floats(-50, 50), min_size=len(FEATURES), max_size=len(FEATURES)).map(tuple)
MADE = Conditions("python", "rest of line")


def ready(text: bytes, logprobs: tuple[float, ...]) -> Ready:
    return Ready(text, text, logprobs, sum(logprobs), "line_end", (), 0, b"value = ", b"\n", "=")


SURE = features_of(ready(b"value)", (-0.01, -0.01)))
UNSURE = features_of(ready(b"unheard_of.invented(names, that_are, nowhere)", (-3.0, -4.0, -2.0)))


def test_the_weights_separate_sure_from_unsure_suggestions_of_the_demonstrator() -> None:
    gate = with_learnt(shipped(), hash_of_model(DEMONSTRATOR), {})
    assert gate.probability(SURE) > gate.threshold > gate.probability(UNSURE)
    decision = gate.decide(UNSURE, 1.0)
    assert not decision.is_shown
    assert decision.against
    assert gate.decide(SURE, 1.0).is_shown


@given(st.lists(st.floats(), min_size=len(FEATURES), max_size=len(FEATURES)).map(tuple))
def test_calm_0_shows_everything(features: tuple[float, ...]) -> None:
    assert shipped().decide(features, 0.0).is_shown


def test_a_gate_that_is_not_fitted_to_its_model_hides_nothing() -> None:
    assert with_learnt(shipped(), "another model", {}).decide(UNSURE, 1.0).is_shown


def test_a_written_gate_is_read_unchanged() -> None:
    assert read_gate(write_gate(shipped())) == shipped()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps(json.loads(write_gate(shipped())) | {"features": ["other"]}),
        json.dumps(json.loads(write_gate(shipped())) | {"weights": [1.0]}),
        json.dumps(json.loads(write_gate(shipped())) | {"bias": "x"}),
    ],
)
def test_an_invalid_file_is_refused(text: str) -> None:
    with pytest.raises(GateError):
        read_gate(text)


@pytest.mark.parametrize(
    "learnt",
    [
        None,
        {"moved": [1]},
        {"moved": "x", "temperature": 1, "shift": 0, "n": 0, "is_fitted": True},
        *(GOOD_LEARNT | {"moved": [number] * len(FEATURES)} for number in NO_NUMBERS),
        *(GOOD_LEARNT | {name: number} for name in ("temperature", "shift", "n") for number in NO_NUMBERS),
    ],
)
def test_invalid_learnt_values_are_ignored(learnt: object) -> None:
    own = shipped().model_hash
    assert with_learnt(shipped(), own, {own: learnt}) == shipped()


@given(st.lists(st.tuples(VALUES, st.booleans()), max_size=60))
def test_learning_stays_within_its_bounds(seen: list[tuple[tuple[float, ...], bool]]) -> None:
    gate = shipped()
    for features, is_wanted in seen:
        gate = stepped(gate, features, is_wanted=is_wanted)
    assert max(map(abs, gate.moved)) <= MAX_MOVED
    assert abs(gate.shift) <= MAX_SHIFT


@given(st.sets(st.integers(0, len(FEATURES) - 1), min_size=1), st.sampled_from(NO_NUMBERS), st.sampled_from([1.0, 2.0]))
def test_nothing_is_learnt_from_features_that_are_no_numbers(
    which: set[int], number: float, temperature: float
) -> None:
    features = tuple(number if n in which else value for n, value in enumerate(SURE))
    gate = stepped(evolve(shipped(), temperature=temperature), features, is_wanted=True)
    assert all(map(math.isfinite, (*gate.moved, gate.shift)))


def test_accepted_suggestions_become_likelier() -> None:
    gate = shipped()
    for _ in range(20):
        gate = stepped(gate, UNSURE, is_wanted=True)
    assert gate.probability(UNSURE) > shipped().probability(UNSURE)
    assert gate.n_learnt == 20


def test_the_fit_finds_the_true_temperature() -> None:
    rng = Random(1)
    seen = []
    for _ in range(5000):
        logit = rng.uniform(-6, 6)
        seen.append((logit, rng.random() < sigmoid(logit / 2.0 + 0.5)))
    temperature, shift = fit_temperature(seen)
    assert temperature == pytest.approx(2.0, rel=0.15)
    assert shift == pytest.approx(0.5, abs=0.15)


@given(st.lists(st.tuples(st.floats(-60, 60), st.booleans()), max_size=200))
@example([(logit, logit < 0) for logit in range(-60, 60)])
def test_the_fit_has_the_least_loss(seen: list[tuple[float, bool]]) -> None:
    temperature, shift = fit_temperature(seen)

    def loss(slope: float, shift: float) -> float:
        logits = np.array([(slope * logit + shift) * (1 if is_wanted else -1) for logit, is_wanted in seen])
        return float(np.logaddexp(0, -logits).sum()) + (slope - 1) ** 2 + 0.1 * shift**2

    least = loss(1 / temperature, shift)
    for slope in (0.1, 0.101, 0.2, 0.5, 1.0, 2.0, 4.99, 5.0, 0.999 / temperature, 1.001 / temperature):
        for other in (-5.0, 0.0, 5.0, shift - 0.01, shift, shift + 0.01):
            assert least <= loss(min(5.0, max(0.1, slope)), other) + 1e-5


def test_another_model_is_fitted_after_some_outcomes_and_the_fit_is_stored(tmp_path: Path) -> None:
    path, changes = tmp_path / "gate.json", []
    gate = with_learnt(shipped(), "other", {})
    learner = Learner(gate, path, "other", changes.append)
    for number in range(N_FIT):
        features, outcome = (SURE, Outcome.WHOLE) if number % 2 else (UNSURE, Outcome.SUPERSEDED)
        offered = Offered(number, number, 1, 0, MADE, Measures(1, 1), "", "", features)
        assert not learner.gate.is_fitted
        learner.take([offered, Ended(number, 0, outcome)])
    assert changes[-1].is_fitted
    kept = with_learnt(shipped(), "other", read_learnt(path))
    assert kept.is_fitted
    assert kept.n_learnt == N_FIT
    assert kept.probability(SURE) == pytest.approx(changes[-1].probability(SURE), abs=1e-4)
    assert with_learnt(shipped(), "a third", read_learnt(path)) == evolve(shipped(), is_fitted=False)


@pytest.mark.parametrize("number", [*NO_NUMBERS, 1e200])
def test_one_outcome_without_numbers_does_not_spoil_the_fit(tmp_path: Path, number: float) -> None:
    learnt = []
    for is_spoilt in (False, True):
        learner = Learner(with_learnt(shipped(), "other", {}), tmp_path / "gate.json", "other")
        for suggestion in range(2 * N_FIT):
            is_odd = is_spoilt and suggestion == 3
            features, outcome = (SURE, Outcome.SUPERSEDED) if suggestion % 2 else (UNSURE, Outcome.WHOLE)
            offered = Offered(suggestion, suggestion, 1, 0, MADE, Measures(1, 1), "", "", features)
            if is_odd:
                odd = evolve(offered, suggestion=-1, features=(number, *features[1:]))
                learner.take([odd, Ended(-1, 0, outcome)])
            learner.take([offered, Ended(suggestion, 0, outcome)])
        learnt.append(learner.gate)
    assert learnt[0] == learnt[1]
    assert learnt[0].is_fitted


def test_a_damaged_file_of_learnt_values_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text("{broken")
    assert read_learnt(tmp_path / "gate.json") == {}
