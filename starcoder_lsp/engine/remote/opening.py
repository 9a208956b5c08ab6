"""Open the remote engine that settings name, or raise an error of one line with the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from attrs import evolve

from starcoder_lsp.background import in_background
from starcoder_lsp.engine.engine import Capabilities, EngineError
from starcoder_lsp.engine.fim import format_for
from starcoder_lsp.engine.limits import limits_of
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.remote.adapters import adapter_for
from starcoder_lsp.engine.remote.client import RemoteEngine
from starcoder_lsp.engine.remote.disclosure import disclose
from starcoder_lsp.engine.remote.endpoint import Endpoint, endpoint_of
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.vocabulary import WHERE, read_vocabulary
from starcoder_lsp.printable import printable
from starcoder_lsp.settings import Settings


async def open_remote(
    settings: Settings,
    on_message: Callable[[str], None],
    on_state: Callable[[str], None],
    on_refused: Callable[[], None] = lambda: None,
) -> tuple[PromptModel, RemoteEngine]:
    """Connect as `connect` does, and tell the user once which host will see source text. Raises `EngineError`."""
    prompts, engine = await connect(settings)
    disclose(engine.where, limits_of(engine.capabilities), on_message)
    engine.on_message, engine.on_state, engine.on_refused = on_message, on_state, on_refused
    return prompts, engine


async def connect(settings: Settings) -> tuple[PromptModel, RemoteEngine]:
    """Read the vocabulary, ask the server for its model, and compare the two. Sends no source text.

    Raises `EngineError`: an `EngineAwayError` if the server does not answer now and may do so later.
    """
    endpoint = endpoint_of(settings.engine)
    prompts = await in_background(read_remote_prompts, settings)
    http = Http(endpoint)
    try:
        about = await adapter_for(endpoint, endpoint.model, 0).describe(http)
        prompts = evolve(
            prompts,
            name=printable(f"{_without_folder(about.model)} at {endpoint.host}"),
            n_context=min(prompts.n_context, about.n_context or prompts.n_context),
        )
        adapter = adapter_for(endpoint, about.model, prompts.n_context)
        engine = RemoteEngine(http, adapter, prompts, prefills=_prefills(settings, endpoint))
        await engine.check_vocabulary()
    except BaseException:
        await http.close()
        raise
    return prompts, engine


def _without_folder(model: str) -> str:
    """Return a model's name. That of llama.cpp's server is the path of its file by default."""
    is_path = PurePosixPath(model).is_absolute() or PureWindowsPath(model).is_absolute()
    return PureWindowsPath(model).name if is_path else model


def remote_capabilities(settings: Settings) -> Capabilities:
    """Return what the engine can do, without asking the server. Raises `EngineError`."""
    endpoint = endpoint_of(settings.engine)
    return evolve(adapter_for(endpoint, "", 0).capabilities, prefill=_prefills(settings, endpoint))


def _prefills(settings: Settings, endpoint: Endpoint) -> bool:
    return {"always": True, "never": False}.get(settings.engine.prefill_ahead, endpoint.is_on_this_machine)


def read_remote_prompts(settings: Settings) -> PromptModel:
    """Read the prompt model without the values that only the server knows. Raises `EngineError`."""
    endpoint = endpoint_of(settings.engine)
    architecture, tokenizer = read_vocabulary(vocabulary_path(settings))
    return PromptModel(
        name=printable(f"{endpoint.model or settings.engine.kind} at {endpoint.host}"),
        architecture=architecture,
        n_context=settings.model.context_length,
        tokenizer=tokenizer,
        fim=format_for(architecture, tokenizer),
        n_parameters=0,
        n_bytes=0,
    )


@asynccontextmanager
async def opened_remote(settings: Settings) -> AsyncIterator[RemoteEngine]:
    """Connect for a command whose user has named the server, and close at the end. Raises `EngineError`."""
    _prompts, engine = await connect(settings)
    try:
        yield engine
    finally:
        await engine.close()


def vocabulary_path(settings: Settings) -> Path:
    """Return the file of the vocabulary. Raises `EngineError` if none is configured."""
    path = settings.engine.vocabulary or settings.model.path
    if not path:
        message = f"engine.vocabulary is empty: set it to {WHERE}"
        raise EngineError(message)
    return Path(path)
