"""Load the model of a session, and load it again when settings change or a remote engine comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from attrs import define, field

from starcoder_lsp.engine.engine import CachedDocument, Cancellation, EngineError, EngineLostError, KvCache
from starcoder_lsp.prompting import Model
from starcoder_lsp.session.scheduler import Scheduler, SupersededError
from starcoder_lsp.session.status import StatusReporter
from starcoder_lsp.settings import Settings

MODEL_KEY = "model"
"""The scheduler's key for work that belongs to no document."""
DEMONSTRATOR_NOTE = (
    "the demonstrator, not StarCoder2: run starcoder.pullModel, or starcoder-lsp models pull starcoder2-3b"
)
COMES_BACK = "Suggestions resume once it answers."


def ignore(_given: object) -> None:
    """Do nothing."""


def _keep(work: Awaitable[object], tasks: set[asyncio.Future[object]]) -> None:
    """Start work, and keep it among `tasks` until it is done: the event loop itself would let go of it."""
    task = asyncio.ensure_future(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


@define(eq=False)
class ModelSlot:
    """Holds the model, if one is loaded. On the event loop.

    While a remote engine is away, `engine.fallback` may put the local model into its place.
    """

    scheduler: Scheduler
    status: StatusReporter
    on_ready: Callable[[], None] = lambda: None
    """Called when a model that was away can answer again."""
    model: Model | None = None
    """The model that answers requests now."""
    _configured: Model | None = None
    """The model that the settings name, also while its engine is away."""
    _fallback: Model | None = None
    _left: list[Model] = field(factory=list)
    """Models that were replaced and are not closed yet."""
    _away: str = ""
    """The reason why the configured model's engine is away; empty while it answers."""
    _settings: Settings = field(factory=Settings)
    _client: str = ""
    _on_message: Callable[[str], None] = ignore
    _tasks: set[asyncio.Future[object]] = field(factory=set)
    _closings: set[asyncio.Future[object]] = field(factory=set)
    """The ends of engines that are not needed any more. None is cancelled, and `close` waits for them."""

    @property
    def _cache(self) -> KvCache | None:
        """The engine's KV cache, if the model is loaded and its engine has one."""
        return None if self.model is None else self.model.engine.cache

    def persist(self, uris: Iterable[str]) -> None:
        """Let the engine keep the KV states of closed documents, if it can."""
        if self._cache is not None:
            for uri in uris:
                self._cache.persist(uri)

    async def cached(self) -> Sequence[CachedDocument]:
        """Return the documents with KV states in the engine."""
        return () if self._cache is None else await self._cache.cached()

    async def forget(self) -> None:
        """Let the engine forget every KV state of this session, on disk too."""
        if self._cache is not None:
            await self._cache.forget()

    async def load(
        self,
        settings: Settings,
        client: str,
        on_progress: Callable[[float], None],
        on_message: Callable[[str], None],
    ) -> Model:
        """Load the model that `settings` name in place of the loaded one. Raises `EngineError` and `SupersededError`.

        `on_progress` gets the loaded share, 0 to 1. `on_message` gets messages for the user, also after loading, such
        as one that the GPU was turned off after a crash. A remote engine that does not answer is tried again.
        """
        self._leave()
        self._left += self._held()
        self.model = self._configured = self._fallback = None
        self._away, self._settings, self._client, self._on_message = "", settings, client, on_message
        self.scheduler.supersede_all()  # no request may find the old model closed
        self.status.load()

        async def work(cancellation: Cancellation) -> Model:
            while self._left:  # also those of a load that was superseded before it began
                await self._left.pop().engine.close(is_restart=True)
            model = await self._open(on_progress, on_message)
            if cancellation.is_cancelled:
                await model.engine.close()
                raise SupersededError
            self.model = self._configured = model
            self.status.loaded(model.prompts.name, self._note())
            return model

        try:
            return await self.scheduler.run(MODEL_KEY, work)
        except EngineLostError as error:
            if settings.engine.kind == "local":
                self.status.fail(str(error))
                raise
            self._follow(str(error))
            self._start(self._retry(on_message))
            message = f"{error}. {COMES_BACK}"
            raise EngineLostError(message) from error
        except EngineError as error:
            self.status.fail(str(error))
            raise

    def leave_empty(self) -> None:
        """Note that no model will be loaded, so that a host that was started early ends."""
        from starcoder_lsp.engine.loading import forget_early

        forget_early()

    async def _open(self, on_progress: Callable[[float], None], on_message: Callable[[str], None]) -> Model:
        from starcoder_lsp.engine.loading import Listeners, end_early, open_model  # not before `initialize` is answered
        from starcoder_lsp.models.chosen import with_path

        listeners = Listeners(on_progress, on_message, self._follow, lambda: self._start(self._reopen()))
        try:
            return Model.of(*await open_model(with_path(self._settings), listeners, self._client))
        finally:
            end_early()

    def _note(self) -> str:
        from starcoder_lsp.models.chosen import is_demonstrator

        is_local = self._settings.engine.kind == "local"
        return DEMONSTRATOR_NOTE if is_local and is_demonstrator(self._settings) else ""

    def _follow(self, state: str) -> None:
        """Note that the engine loads its model again (`"loading"`), can answer (empty), or cannot (an error)."""
        is_remote = self._settings.engine.kind != "local"
        if self._configured is None and not is_remote:
            return
        if state == "loading":
            self.status.load()
        elif state:
            was_away, self._away = self._away, state
            self._report_away()
            if is_remote and not was_away and self._settings.engine.fallback == "local":
                self._start(self._fall_back())
        elif self._configured is not None:
            self._away = ""
            self.model = self._configured
            self.status.loaded(self.model.prompts.name, self._note())
            self.on_ready()
            if self._fallback is not None:
                fallback, self._fallback = self._fallback, None
                self._end(fallback)

    async def _reopen(self) -> None:
        """Open a remote engine anew if it has another model or context than when it was opened."""
        from starcoder_lsp.engine.remote.breaker import Breaker

        breaker, model = Breaker(is_away=True), None
        while model is None:
            try:
                model = await self._open(ignore, self._on_message)
            except EngineLostError:  # no other refusal of this kind asks again
                breaker.fail()
                await asyncio.sleep(breaker.pause_s)
            except EngineError:
                return  # the refusal was reported, and the engine that is open goes on
        old = self._configured
        if old is None or (old.prompts.name, old.prompts.n_context) == (model.prompts.name, model.prompts.n_context):
            self._end(model)
            return
        self._configured = model
        self._follow("")
        self._end(old)

    # While a remote engine is away

    def _report_away(self) -> None:
        if self._fallback is None:
            self.status.fail(self._away)
        else:
            self.status.loaded(f"{self._fallback.prompts.name}, while {self._away}")

    async def _retry(self, on_message: Callable[[str], None]) -> None:
        """Try to open a remote engine until it answers, with growing pauses."""
        from starcoder_lsp.engine.remote.breaker import Breaker

        breaker = Breaker(is_away=True)
        while self._configured is None:
            breaker.fail()
            await asyncio.sleep(breaker.pause_s)
            try:
                self._configured = await self._open(ignore, on_message)
            except EngineLostError as error:
                if str(error) != self._away:
                    self._follow(str(error))
            except EngineError as error:  # it answers, and is not what the settings say
                on_message(str(error))
                self._follow(str(error))
                return
        self._follow("")

    async def _fall_back(self) -> None:
        """Let the local model answer until the configured one is back."""
        from starcoder_lsp.engine.loading import Listeners, open_local
        from starcoder_lsp.models.chosen import with_path

        try:
            model = Model.of(*await open_local(with_path(self._settings), Listeners(), self._client))
        except EngineError as error:
            self.status.fail(f"{self._away}; and the local model cannot be loaded: {error}")
            return
        if not self._away or self._fallback is not None:
            self._end(model)
            return
        self.model = self._fallback = model
        self._report_away()
        self.on_ready()

    def _start(self, work: Awaitable[object]) -> None:
        _keep(work, self._tasks)

    def _end(self, model: Model) -> None:
        _keep(model.engine.close(), self._closings)

    def _leave(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Close the engine, which may persist its KV states."""
        self._leave()
        for model in (*self._held(), *self._left):
            await model.engine.close()
        await asyncio.gather(*self._closings, return_exceptions=True)

    def _held(self) -> list[Model]:
        """Return the models that are loaded, each once."""
        models = (self.model, self._configured, self._fallback)
        return list({id(each): each for each in models if each is not None}.values())
