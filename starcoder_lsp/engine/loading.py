"""Open the model that settings name: its prompt model, and an engine that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import evolve, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.engine.engine import Capabilities, Engine
from starcoder_lsp.engine.host.address import is_alive, runtime_folder
from starcoder_lsp.engine.host.client import HostEngine
from starcoder_lsp.engine.host.early import EARLY
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.model_file import check_model_file
from starcoder_lsp.engine.prompt_model import PromptModel, read_prompt_model
from starcoder_lsp.settings import Settings

DEMONSTRATOR = Path(__file__).parent.parent / "demonstrator" / "starcoder-lsp-demonstrator.gguf"


@frozen
class Listeners:
    """Callbacks of an engine: the share that is loaded, messages for the user, and later states; see `HostEngine`.

    Only a `RemoteEngine` calls `on_refused`, at each new kind of refusal.
    """

    on_progress: Callable[[float], None] = lambda _share: None
    on_message: Callable[[str], None] = lambda _message: None
    on_state: Callable[[str], None] = lambda _state: None
    on_refused: Callable[[], None] = lambda: None


def model_path(settings: Settings) -> Path:
    """Return the model file to load: the configured one, or the demonstrator that comes with the package."""
    return Path(settings.model.path) if settings.model.path else DEMONSTRATOR


def is_remote(settings: Settings) -> bool:
    """Return whether the model runs on a server, not in a host of this machine."""
    return settings.engine.kind != "local"


def read_configured_prompts(settings: Settings) -> PromptModel:
    """Read the configured model's prompt model without connecting to a remote engine. Raises `EngineError`."""
    if not is_remote(settings):
        return read_prompts(settings)
    from starcoder_lsp.engine.remote.opening import read_remote_prompts

    return read_remote_prompts(settings)


def configured_capabilities(settings: Settings) -> Capabilities:
    """Return the configured engine's capabilities, without connecting to a server. Raises `EngineError`."""
    if not is_remote(settings):
        return Capabilities()
    from starcoder_lsp.engine.remote.opening import remote_capabilities

    return remote_capabilities(settings)


def read_prompts(settings: Settings) -> PromptModel:
    """Read the part of the configured model that choosing a prompt needs. Raises `EngineError`."""
    return read_prompt_model(model_path(settings), settings.model.context_length)


async def open_model(
    settings: Settings, listeners: Listeners | None = None, client: str = "starcoder-lsp"
) -> tuple[PromptModel, Engine]:
    """Connect to the configured server, or load the local model; see `open_local`. Raises `EngineError`."""
    if is_remote(settings) or not settings.enabled:
        forget_early()
    if not is_remote(settings):
        return await open_local(settings, listeners, client)
    from starcoder_lsp.engine.remote.opening import open_remote  # a local server starts without it

    listeners = listeners or Listeners()
    return await open_remote(settings, listeners.on_message, listeners.on_state, listeners.on_refused)


async def open_local(
    settings: Settings, listeners: Listeners | None = None, client: str = "starcoder-lsp"
) -> tuple[PromptModel, HostEngine]:
    """Load the configured local model. `client` is this program's name among the host's clients.

    Raises `EngineError`.
    """
    listeners = listeners or Listeners()
    checked = await in_background(check_model_file, model_path(settings))
    engine = HostEngine(
        HostOptions.of(settings, checked),
        checked.architecture,
        listeners.on_message,
        listeners.on_progress,
        listeners.on_state,
        client=client,
    )
    # While the host starts, and not behind the queries of open documents, which the background thread compiles.
    reading = asyncio.ensure_future(asyncio.to_thread(read_prompts, settings))
    starting = asyncio.ensure_future(engine.start())
    try:
        prompts, _ = await asyncio.gather(reading, starting)
    except BaseException:
        reading.cancel()
        starting.cancel()
        await asyncio.wait([starting])
        await engine.close()
        raise
    return prompts, engine


def _private(settings: Settings) -> Settings:
    return evolve(settings, host=evolve(settings.host, shared=False))


def forget_early() -> None:
    """End the host that was started early, and start none at the next start."""
    EARLY.settle(None)


def end_early() -> None:
    """End the host that was started early, unless it is in use."""
    EARLY.end()


def runs(settings: Settings) -> bool:
    """Return whether a shared host of the configured model is running. Raises `EngineError`."""
    options = HostOptions.of(settings, check_model_file(model_path(settings)))
    return is_alive(runtime_folder(), options.key)


@asynccontextmanager
async def opened(
    settings: Settings, listeners: Listeners | None = None, *, joins: bool = False
) -> AsyncIterator[tuple[PromptModel, HostEngine]]:
    """Load the configured model into a private host, and leave the host at the end. Raises `EngineError`.

    With `joins`, join a shared host if one is running.
    """
    if not (joins and settings.host.shared and await in_background(runs, settings)):
        settings = _private(settings)
    prompts, engine = await open_local(settings, listeners)
    try:
        yield prompts, engine
    finally:
        await engine.close()


@asynccontextmanager
async def opened_engine(
    settings: Settings, listeners: Listeners | None = None, *, joins: bool = False
) -> AsyncIterator[tuple[PromptModel, Engine]]:
    """Do as `opened`, or connect to the server that the settings name. Raises `EngineError`."""
    if not is_remote(settings):
        async with opened(settings, listeners, joins=joins) as model:
            yield model
        return
    prompts, engine = await open_model(settings, listeners)
    try:
        yield prompts, engine
    finally:
        await engine.close()
