"""Fixtures: the model thread with empty cells, and an engine with one client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import evolve

from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.local.parking import ParkedStates
from starcoder_lsp.engine.prompt_model import PromptModel
from tests.local_engine import LocalEngine
from tests.unit.worker.clients import N_CELLS, N_CONTEXT, N_PARKED_BYTES, Recorder, wait_for


@pytest.fixture(scope="module")
def loaded(prompts: PromptModel, caution: Caution) -> Iterator[LocalEngine]:
    """Cells for two prompts that fill the context."""
    small = evolve(prompts, n_context=N_CONTEXT)
    engine = LocalEngine.load(small, DEMONSTRATOR, caution, N_PARKED_BYTES, n_cells=N_CELLS)
    engine.worker.sequences.backend = Recorder(engine.context)
    yield engine
    engine.end()


@pytest.fixture(scope="module")
def moving(prompts: PromptModel, caution: Caution) -> Iterator[LocalEngine]:
    """The same cells, and those are used again whose text has moved."""
    small = evolve(prompts, n_context=N_CONTEXT)
    engine = LocalEngine.load(small, DEMONSTRATOR, caution, N_PARKED_BYTES, n_cells=N_CELLS, has_spares=True)
    engine.worker.sequences.backend = Recorder(engine.context)
    yield engine
    engine.end()


@pytest.fixture
def host(loaded: LocalEngine) -> Iterator[LocalEngine]:
    """The model thread with empty cells and no parked states; at the end recorded ids must equal the cells."""
    recorder = loaded.worker.sequences.backend = Recorder(loaded.context._context)
    for resident in loaded.worker.sequences.residents:
        loaded.worker.leave(resident.cached.owner.client)
    wait_for(loaded.worker)
    loaded.worker.sequences.states = ParkedStates(N_PARKED_BYTES)
    yield loaded
    recorder.before = recorder.looked = lambda: None
    for gate in recorder.gates:
        gate.set()
    wait_for(loaded.worker)
    loaded.check_cells()


@pytest.fixture(scope="module")
def alone(prompts: PromptModel, caution: Caution) -> Iterator[LocalEngine]:
    """An engine with one client."""
    engine = LocalEngine.load(prompts, DEMONSTRATOR, caution)
    yield engine
    engine.end()
