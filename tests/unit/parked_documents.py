"""Documents whose states are parked, and requests for them."""

from __future__ import annotations

from starcoder_lsp.engine.engine import Cancellation, Engine, Generation, GenerationRequest
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.prompt_model import PromptModel
from tests.local_engine import LocalEngine

MIB = 1024 * 1024


def request_for(prompts: PromptModel, document: str, text: bytes) -> GenerationRequest:
    encode = prompts.tokenizer.encode
    prompt = prompts.fim.infill(encode(text), encode(b"\n\nx = 1\n"))
    return GenerationRequest(document, prompt, max_new_tokens=3, timeout_ms=60_000)


async def answer(engine: Engine, prompts: PromptModel, request: GenerationRequest) -> Generation:
    return await generate(engine, request, prompts.tokenizer.piece, lambda _text: None, Cancellation())


async def run(engine: LocalEngine, request: GenerationRequest, cancel_after: int | None = None) -> Generation:
    """Run a request, and check that the recorded ids equal the cells afterwards."""
    cancellation, piece = Cancellation(), engine.context.pieces.__getitem__
    with engine.cancelling(cancellation, 0 if cancel_after is None else cancel_after + 1):
        generation = await generate(engine, request, piece, lambda _text: None, cancellation)
        await engine.settled()
    engine.check_cells()
    return generation


def body(name: str, n_functions: int = 20) -> bytes:
    return "".join(f"def {name}_{i}(x):\n    return x + {i}\n\n\n" for i in range(n_functions)).encode()
