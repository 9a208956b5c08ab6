"""The counters behind `starcoder/metrics`."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.engine.engine import CachedDocument, CompletionOutput, Generation
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import Model
from starcoder_lsp.session.metrics import N_LATENCIES, Metrics
from tests.scripted import Scripted

SNAPSHOT = Documents().open("file:///a.py", "python", 1, "x = 1\n")


def completion(text: str, n_prompt: int = 10, n_reused: int = 6, n_generated: int = 3) -> Completion:
    generation = Generation(
        written=(CompletionOutput(text.encode(), tuple(range(n_generated)), (0.0,) * n_generated, "max_tokens"),),
        n_prompt=n_prompt,
        n_reused=n_reused,
        n_evaluated=n_prompt - n_reused,
        prefill_ms=1.0,
        decode_ms=1.0,
        evaluation_ms=1.5,
    )
    return Completion(SNAPSHOT, 0, (Item(text),) if text else (), "" if text else "max_tokens", generation)


def latencies(*elapsed_ms: float) -> dict[str, float]:
    metrics = Metrics()
    for ms in elapsed_ms:
        metrics.time(ms)
    return metrics.report(None, ())["latencyMs"]


def test_at_the_start_all_counters_are_zero_and_no_model_is_known() -> None:
    report = Metrics().report(None, ())
    assert set(report["requests"].values()) | set(report["tokens"].values()) == {0}
    assert report["latencyMs"] == {"count": 0, "p50": None, "p95": None, "evaluation": 0.0}
    assert report["model"] is None
    assert report["documents"] == []


def test_answers_with_and_without_text_are_counted_apart() -> None:
    metrics = Metrics()
    metrics.count(completion("a"))
    metrics.count(completion("b"))
    metrics.count(completion(""))
    metrics.count(Completion(SNAPSHOT, 0, (), "declined"))
    report = metrics.report(None, ())
    assert (report["requests"]["answered"], report["requests"]["empty"]) == (2, 2)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(0, 64)), max_size=20))
def test_tokens_add_up(requests: list[tuple[int, int, int]]) -> None:
    metrics = Metrics()
    for n_reused, n_evaluated, n_generated in requests:
        metrics.count_tokens(completion("x", n_reused + n_evaluated, n_reused, n_generated))
        metrics.count_ahead(n_generated)
    report = metrics.report(None, ())
    tokens = report["tokens"]
    assert tokens["prompt"] == sum(r + e for r, e, _ in requests)
    assert tokens["prompt"] + tokens["ahead"] == tokens["reused"] + tokens["evaluated"]
    assert tokens["ahead"] == sum(n for _, _, n in requests)
    assert report["latencyMs"]["evaluation"] == pytest.approx(1.5 * len(requests))
    assert tokens["generated"] == sum(n for _, _, n in requests)


def test_of_a_cancelled_prompt_only_the_evaluated_part_counts() -> None:
    metrics = Metrics()
    given_up = completion("", n_prompt=100, n_reused=6)
    metrics.count_tokens(evolve(given_up, generation=evolve(given_up.generation, n_evaluated=20)))
    assert (metrics.tokens.prompt, metrics.tokens.reused, metrics.tokens.evaluated) == (26, 6, 20)


def test_superseded_requests_count_their_tokens() -> None:
    metrics = Metrics()
    metrics.count_tokens(completion("x"))
    report = metrics.report(None, ())
    assert report["tokens"]["prompt"] == 10


def test_one_latency_is_every_percentile() -> None:
    assert latencies(12.5) == {"count": 1, "p50": 12.5, "p95": 12.5, "evaluation": 0.0}


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=200))
def test_percentiles_are_latencies_with_the_right_share_below(elapsed_ms: list[float]) -> None:
    """Up to one latency: among few, several values are a valid median."""
    report = latencies(*elapsed_ms)
    for share, percentile in ((0.5, report["p50"]), (0.95, report["p95"])):
        assert percentile in {round(ms, 3) for ms in elapsed_ms}
        n_below = sum(round(ms, 3) < percentile for ms in elapsed_ms)
        n_not_above = sum(round(ms, 3) <= percentile for ms in elapsed_ms)
        assert n_below - 1 <= share * len(elapsed_ms) <= n_not_above + 1


def test_old_latencies_are_forgotten_and_still_counted() -> None:
    metrics = Metrics()
    for _ in range(N_LATENCIES):
        metrics.time(1000.0)
    for _ in range(N_LATENCIES):
        metrics.time(1.0)
    report = metrics.report(None, ())["latencyMs"]
    assert (report["count"], report["p50"], report["p95"]) == (2 * N_LATENCIES, 1.0, 1.0)


def test_model_and_cached_documents_are_reported_as_json(prompts: PromptModel) -> None:
    described = evolve(
        prompts, name="a model", architecture="starcoder2", n_context=4096, n_parameters=3_000, n_bytes=2_000
    )
    model = Model.of(described, Scripted(described, n_gpu_layers=7))
    report = Metrics().report(model, [CachedDocument("file:///a.py", 120, "device")])
    assert report["model"] == {
        "name": "a model",
        "architecture": "starcoder2",
        "parameters": 3_000,
        "contextLength": 4096,
        "gpuLayers": 7,
        "bytes": 2_000,
    }
    assert report["documents"] == [{"uri": "file:///a.py", "tokens": 120, "where": "device"}]
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize("name", ["ahead", "evaluated", "generated", "prompt", "reused"])
def test_counters_have_the_protocols_names(name: str) -> None:
    assert name in Metrics().report(None, ())["tokens"]
