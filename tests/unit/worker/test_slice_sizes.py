"""The size of a prompt's slices does not change the text, and follows their time."""

from __future__ import annotations

import pytest

from starcoder_lsp.engine.engine import (
    Cancellation,
    GenerationRequest,
    Prompt,
)
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.local.backend import N_SLICE
from starcoder_lsp.engine.local.llama import N_BRANCHES, N_RESIDENTS, LlamaContext, LoadOptions
from starcoder_lsp.engine.local.parking import ParkedStates
from starcoder_lsp.engine.local.sequences import Sequences
from starcoder_lsp.engine.local.slices import batch_timer, measured
from starcoder_lsp.engine.local.worker import Worker
from starcoder_lsp.engine.prompt_model import PromptModel
from tests.local_engine import LocalEngine
from tests.unit.worker.clients import N_CELLS, N_CONTEXT, Recorder


@pytest.mark.parametrize("n_slice", [64, 100, 256])
async def test_a_slice_of_any_size_gives_the_same_text(prompts: PromptModel, caution: Caution, n_slice: int) -> None:
    extra, flash = caution < Caution.PLAIN_WEIGHTS, caution < Caution.MINIMAL
    options = LoadOptions(DEMONSTRATOR, N_CELLS, prompts.n_bytes, 0, 1, extra, flash, n_slice=32)
    context = LlamaContext(options, prompts.tokenizer.pieces)
    context.decode(0, [5] * 32, 0)
    context.reopen(n_slice)
    assert context.n_cells_of(0) == 0
    recorder = Recorder(context)
    sequences = Sequences.of(recorder, ParkedStates(0), N_RESIDENTS, N_BRANCHES)
    engine = LocalEngine(Worker(sequences, N_CONTEXT))
    engine.worker.start()
    source = b"import os\n\n\ndef read(path):\n    with open(path) as file:\n        return file.read()\n" * 12
    prompt = prompts.fim.infill(prompts.tokenizer.encode(source), ())
    request = GenerationRequest("a", prompt, max_new_tokens=1, timeout_ms=60_000)
    generation = await generate(engine, request, prompts.tokenizer.piece, lambda _text: None, Cancellation())
    assert generation.n_evaluated == len(prompt.ids)
    assert len(recorder.evaluated) == -(-len(prompt.ids) // n_slice)
    best = int(context.logits().argmax())
    context.truncate(generation_sequence := recorder.evaluated[0][0], 0)
    for first in range(0, len(prompt.ids), 50):
        context.decode(generation_sequence, prompt.ids[first : first + 50], first)
    assert int(context.logits().argmax()) == best
    engine.end()


async def test_slices_become_shorter_where_they_take_too_long(prompts: PromptModel, caution: Caution) -> None:
    extra, flash = caution < Caution.PLAIN_WEIGHTS, caution < Caution.MINIMAL
    options = LoadOptions(DEMONSTRATOR, N_CELLS, prompts.n_bytes, 0, 1, extra, flash, n_slice=256)
    context = LlamaContext(options, prompts.tokenizer.pieces)
    size = measured(256, batch_timer(context), context.reopen)
    assert size.n_batch == context.n_slice
    size.n_tokens, size.target_ms = size.n_batch, 0.001
    recorder = Recorder(context)
    sequences = Sequences.of(recorder, ParkedStates(0), N_RESIDENTS, N_BRANCHES)
    engine = LocalEngine(Worker(sequences, N_CONTEXT, slices=size))
    engine.worker.start()
    ids = prompts.tokenizer.encode(b"x = 1\n" * 200)[: size.n_batch + 3 * N_SLICE]
    request = GenerationRequest("a", Prompt(tuple(ids), frozenset(), "none"), max_new_tokens=1, timeout_ms=60_000)
    generation = await generate(engine, request, prompts.tokenizer.piece, lambda _text: None, Cancellation())
    assert generation.n_evaluated == len(ids)
    assert len(recorder.evaluated) == 1 + -(-(len(ids) - size.n_batch) // N_SLICE)
    engine.end()
