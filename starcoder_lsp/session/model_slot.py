"""The model of a session, from its first load on."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from starcoder_lsp.engine.engine import Cancellation, EngineError
from starcoder_lsp.prompting import Model
from starcoder_lsp.session.scheduler import Scheduler, SupersededError
from starcoder_lsp.session.status import StatusReporter
from starcoder_lsp.settings import Settings

MODEL_KEY = "model"
"""The scheduler's key for work that belongs to no document."""
DEMONSTRATOR_NOTE = (
    "the demonstrator, not StarCoder2: run starcoder.pullModel, or starcoder-lsp models pull starcoder2-3b"
)


@define(eq=False)
class ModelSlot:
    """Holds the model, if there is one. On the event loop; `on_ready` is called whenever requests can be answered."""

    scheduler: Scheduler
    status: StatusReporter
    on_ready: Callable[[], None]
    model: Model | None = None

    async def load(
        self,
        settings: Settings,
        client: str,
        on_progress: Callable[[float], None],
        on_message: Callable[[str], None],
    ) -> Model:
        """Load the configured model in place of the one that is there. Raises `EngineError` and `SupersededError`.

        `on_message` gets messages for the user, also later: that something was turned off after a crash.
        """
        from starcoder_lsp.engine.loading import Listeners, open_model  # not before `initialize` is answered
        from starcoder_lsp.models.chosen import is_demonstrator, with_path

        old, self.model = self.model, None
        self.scheduler.supersede_all()  # no request may find the old model closed
        self.status.load()

        async def work(cancellation: Cancellation) -> Model:
            if old is not None:
                await old.engine.close(is_restart=True)
            listeners = Listeners(on_progress, on_message, self._follow)
            prompts, engine = await open_model(with_path(settings), listeners, client)
            if cancellation.is_cancelled:
                await engine.close()
                raise SupersededError
            return Model.of(prompts, engine)

        try:
            self.model = await self.scheduler.run(MODEL_KEY, work)
        except EngineError as error:
            self.status.fail(str(error))
            raise
        self.status.loaded(self.model.prompts.name, DEMONSTRATOR_NOTE if is_demonstrator(settings) else "")
        return self.model

    def _follow(self, state: str) -> None:
        """Note that the engine loads its model again (`"loading"`), has it back (empty), or failed (an error)."""
        if self.model is None:
            return
        if state == "loading":
            self.status.load()
        elif state:
            self.status.fail(state)
        else:
            self.status.loaded(self.model.prompts.name)
            self.on_ready()

    async def close(self) -> None:
        """Close the engine, which may persist its KV states."""
        if self.model is not None:
            await self.model.engine.close()
