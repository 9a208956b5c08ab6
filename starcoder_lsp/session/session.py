"""One client's session: makes its parts, loads its model, and reports on it.

It speaks in the program's own values; `lsp/` translates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field

from starcoder_lsp.prompting import Model
from starcoder_lsp.session.acceptance import AcceptanceTracker
from starcoder_lsp.session.answering import Answering
from starcoder_lsp.session.document_state import DocumentStates
from starcoder_lsp.session.edit_history import EditHistory
from starcoder_lsp.session.gating import Gatekeeper
from starcoder_lsp.session.metrics import Metrics
from starcoder_lsp.session.model_slot import ModelSlot
from starcoder_lsp.session.observation import Observation
from starcoder_lsp.session.open_documents import OpenDocuments
from starcoder_lsp.session.open_texts import OpenTexts
from starcoder_lsp.session.prefetch import Prefetcher
from starcoder_lsp.session.read_ahead import ReadAhead
from starcoder_lsp.session.request_builder import RequestBuilder
from starcoder_lsp.session.requests import RequestManager
from starcoder_lsp.session.scheduler import Scheduler
from starcoder_lsp.session.status import StatusReporter
from starcoder_lsp.settings import Settings


@define
class Session:
    """One client's state. Every method runs on the event loop.

    `documents` takes in the client's edits, `answering` answers its requests; the other parts serve these two.
    """

    settings: Settings = field(factory=Settings)
    client: str = "unknown"
    """The client's name and version."""
    texts: OpenTexts = field(factory=OpenTexts)
    history: EditHistory = field(factory=EditHistory)
    states: DocumentStates = field(factory=DocumentStates)
    metrics: Metrics = field(factory=Metrics)
    acceptance: AcceptanceTracker = field(factory=AcceptanceTracker)
    status: StatusReporter = field(factory=StatusReporter)
    scheduler: Scheduler = field(factory=Scheduler)
    read_ahead: ReadAhead = field(factory=ReadAhead)
    gatekeeper: Gatekeeper = field(factory=Gatekeeper)
    slot: ModelSlot = field(init=False)
    builder: RequestBuilder = field(init=False)
    observation: Observation = field(init=False)
    documents: OpenDocuments = field(init=False)
    answering: Answering = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the parts that use others."""
        self.slot = ModelSlot(self.scheduler, self.status)
        self.builder = RequestBuilder(self.texts, self.history, self._now)
        self.observation = Observation(self._now, self.texts, self.history.root_of, self.acceptance.log)
        requests = RequestManager(self.scheduler, self.metrics, self.status)
        self.documents = OpenDocuments(
            states=self.states,
            builder=self.builder,
            requests=requests,
            prefetcher=Prefetcher(requests, self.builder, self.states),
            slot=self.slot,
            acceptance=self.acceptance,
            observation=self.observation,
            read_ahead=self.read_ahead,
        )
        self.slot.on_ready = self.documents.refocus
        self.answering = Answering(self.documents, self.gatekeeper, self.metrics, self.acceptance, self.observation)

    def _now(self) -> tuple[Settings, Model | None]:
        return self.settings, self.slot.model

    async def load_model(self, on_progress: Callable[[float], None], on_message: Callable[[str], None]) -> Model:
        """Load the configured model in place of the loaded one, see `ModelSlot.load`."""
        model = await self.slot.load(self.settings, self.client, on_progress, on_message)
        self.states.forget_suggestions()
        self.documents.refocus()
        return model

    async def report(self) -> dict[str, Any]:
        """Return the answer to `starcoder/metrics`."""
        report = self.metrics.report(self.slot.model, await self.slot.cached())
        return report | {"suggestions": self.acceptance.report()}

    async def clear_cache(self) -> None:
        """Forget every KV state of this session, on disk too, and every suggestion."""
        self.states.forget_suggestions()
        await self.slot.forget()

    def stop(self) -> None:
        """Supersede all work."""
        self.read_ahead.stop()
        self.scheduler.supersede_all()

    async def end(self) -> None:
        """Close the engine, which may persist its KV states."""
        await self.slot.close()
