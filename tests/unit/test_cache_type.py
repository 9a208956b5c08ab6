"""Keys and values in 8 bits take half of the memory and give nearly the same numbers and the same text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from attrs import evolve

from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.local.llama import LlamaContext
from starcoder_lsp.engine.local.load_options import LoadOptions
from starcoder_lsp.engine.model_file import ModelFileError, check_model_file
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.settings import CacheSettings, Settings

SOURCE = b"import os\n\n\ndef read(path):\n    with open(path) as file:\n        return file.read()\n" * 6


@pytest.fixture(scope="module")
def contexts(prompts: PromptModel, caution: Caution) -> Iterator[dict[str, LlamaContext]]:
    if caution == Caution.MINIMAL:
        pytest.skip("llama.cpp runs here without flash attention, which values in 8 bits need")
    extra = caution < Caution.PLAIN_WEIGHTS
    options = LoadOptions(DEMONSTRATOR, 1024, prompts.n_bytes, 0, 1, extra)
    made = {each: LlamaContext(evolve(options, cache_type=each), prompts.tokenizer.pieces) for each in ("f16", "q8_0")}
    yield made
    for each in made.values():
        each.close()


def evaluated(context: LlamaContext, ids: list[int]) -> np.ndarray:
    context.truncate(0, 0)
    for first in range(0, len(ids), context.n_slice):
        context.decode(0, ids[first : first + context.n_slice], first)
    return context.logits().copy()


def test_a_state_takes_half_of_the_memory(contexts: dict[str, LlamaContext], prompts: PromptModel) -> None:
    ids = prompts.tokenizer.encode(SOURCE)
    n_bytes = {}
    for name, context in contexts.items():
        evaluated(context, ids)
        state = context.save(0)
        assert state is not None
        n_bytes[name] = state.nbytes
    assert n_bytes["q8_0"] / n_bytes["f16"] == pytest.approx(
        34 / 64, rel=0.02
    )  # q8_0 stores 32 numbers and a scale in 34 bytes


def test_logits_are_nearly_those_of_16_bits(contexts: dict[str, LlamaContext], prompts: PromptModel) -> None:
    ids = prompts.tokenizer.encode(SOURCE)
    exact, rounded = (evaluated(context, ids) for context in contexts.values())
    assert np.isfinite(rounded).all()
    assert 0 < np.abs(exact - rounded).max() < 0.05 * (exact.max() - exact.min())


def test_a_parked_state_is_restored_unchanged(contexts: dict[str, LlamaContext], prompts: PromptModel) -> None:
    context, ids = contexts["q8_0"], prompts.tokenizer.encode(SOURCE)
    evaluated(context, ids[:-1])
    state = context.save(0)
    assert state is not None
    context.decode(0, ids[-1:], len(ids) - 1)
    before = context.logits().copy()
    context.truncate(0, 0)
    assert context.restore(0, state)
    context.decode(0, ids[-1:], len(ids) - 1)
    assert (context.logits() == before).all()


def test_a_context_of_one_type_does_not_restore_states_of_the_other(contexts: dict[str, LlamaContext]) -> None:
    assert len({context.cells_key for context in contexts.values()}) == 2
    model = check_model_file(DEMONSTRATOR)
    hosts = [HostOptions.of(Settings(cache=CacheSettings(type=each)), model) for each in contexts]
    assert [host.cache_type for host in hosts] == list(contexts)
    assert len({host.key for host in hosts}) == 2
    assert HostOptions.from_json(hosts[1].to_json()) == hosts[1]


def test_without_flash_attention_states_have_16_bits(prompts: PromptModel, caution: Caution) -> None:
    extra = caution < Caution.PLAIN_WEIGHTS
    options = LoadOptions(DEMONSTRATOR, 256, prompts.n_bytes, 0, 1, extra, use_flash_attention=False, cache_type="q8_0")
    context = LlamaContext(options, prompts.tokenizer.pieces)
    assert context.cache_type == "f16"
    context.close()


def test_a_model_with_unsuitable_heads_has_states_of_16_bits() -> None:
    model = evolve(check_model_file(DEMONSTRATOR), n_head_embd=80)
    with pytest.raises(ModelFileError, match=r"heads of 80 numbers.* set cache\.type to f16"):
        HostOptions.of(Settings(cache=CacheSettings(type="q8_0")), model)
    assert HostOptions.of(Settings(), model).cache_type == "f16"
