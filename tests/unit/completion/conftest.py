"""A fixture with the demonstrator as the model of completion requests."""

from __future__ import annotations

import pytest

from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import (
    Model,
)
from tests.local_engine import LocalEngine


@pytest.fixture(scope="session")
def model(prompts: PromptModel, engine: LocalEngine) -> Model:
    return Model.of(prompts, engine)
