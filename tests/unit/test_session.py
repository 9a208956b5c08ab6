"""Edits have the same effects in a document and in a cell of a notebook, and a closed one leaves no state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from attrs import define, evolve, field

from starcoder_lsp.completion import Completion
from starcoder_lsp.documents.documents import Edit, UnknownDocumentError
from starcoder_lsp.documents.notebooks import Cell, CellEdits, CellText, NotebookChange
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import Model
from starcoder_lsp.session.session import Session
from starcoder_lsp.settings import DebounceSettings, Settings
from starcoder_lsp.stats.gate import Decision, shipped
from tests.scripted import ManualEngine

FILE, NOTEBOOK, OTHER = "file:///a.py", "file:///a.ipynb", "file:///b.py"
CELLS = [f"vscode-notebook-cell:/a.ipynb#{n}" for n in range(3)]
LINE = "value = "
SETTINGS = Settings(debounce=DebounceSettings(mode="off"))


@define
class Editor:
    """A client that types at the end of a line of one document or cell."""

    session: Session
    uri: str
    key: str
    typed: str = LINE
    version: int = 1
    tasks: list[asyncio.Future[Completion | None]] = field(factory=list)

    def open(self) -> None:
        if self.key == NOTEBOOK:
            texts = [CellText(uri, "python", 1, "import os\n" if uri != self.uri else LINE) for uri in CELLS]
            self.session.documents.open_notebook(NOTEBOOK, 1, [Cell(uri) for uri in CELLS], texts)
        else:
            self.session.documents.open(self.uri, "python", 1, LINE)

    def type(self, text: str) -> None:
        at = len(self.typed)
        self.version += 1
        edits = [Edit(0, at, 0, at, text)]
        self.typed += text
        if self.key == NOTEBOOK:
            change = NotebookChange(edits=(CellEdits(self.uri, self.version, edits),))
            self.session.documents.change_notebook(NOTEBOOK, self.version, change)
        else:
            self.session.documents.change(self.uri, self.version, edits)

    def close(self) -> None:
        if self.key == NOTEBOOK:
            self.session.documents.close_notebook(NOTEBOOK)
        else:
            self.session.documents.close(self.uri)

    def request_completion(self) -> asyncio.Future[Completion | None]:
        asking = asyncio.ensure_future(self.session.answering.complete(self.uri, 0, len(self.typed), automatic=True))
        self.tasks.append(asking)
        return asking


@pytest.fixture
def engine(prompts: PromptModel) -> ManualEngine:
    return ManualEngine(prompts, "foo(a)")


@pytest.fixture(params=[(FILE, FILE), (CELLS[1], NOTEBOOK)], ids=["document", "cell"])
async def editor(request: pytest.FixtureRequest, prompts: PromptModel, engine: ManualEngine) -> AsyncIterator[Editor]:
    session = Session(settings=SETTINGS)
    session.slot.model = Model.of(prompts, engine)
    made = Editor(session, *request.param)
    made.open()
    yield made
    engine.write_on()
    session.stop()
    await asyncio.gather(*made.tasks, return_exceptions=True)


async def test_a_generation_survives_keystrokes_that_match_its_text(editor: Editor, engine: ManualEngine) -> None:
    first = editor.request_completion()
    await engine.write(3)
    editor.type("fo")
    assert await first is None
    second = editor.request_completion()
    engine.write_on()
    completion = await second
    assert completion is not None
    assert (completion.text, engine.n_begun) == ("o(a)", 1)


async def test_inserting_a_suggestion_counts_as_accepting_it(editor: Editor, engine: ManualEngine) -> None:
    engine.write_on()
    completion = await editor.request_completion()
    assert completion is not None
    editor.session.acceptance.make(editor.uri, completion)
    editor.type(completion.text)
    assert editor.session.acceptance.report()["accepted"] == 1


async def test_an_edit_is_a_recent_edit_to_other_files(editor: Editor) -> None:
    editor.type("x")
    editor.session.documents.open(OTHER, "python", 1, "")
    request = editor.session.builder.request_at(editor.session.builder.writable(OTHER))
    assert request is not None
    ((uri, first, last),) = request.workspace_context.recent_edits
    opened = {snapshot.uri: snapshot for snapshot in request.workspace_context.open_documents}
    assert first == last
    assert opened[uri].text.line_text(first) == b"value = x"


async def test_closing_drops_all_state(editor: Editor, engine: ManualEngine) -> None:
    engine.write_on()
    assert await editor.request_completion() is not None
    assert list(editor.session.states) == [editor.key]
    editor.type("x")
    editor.close()
    assert editor.session.states == {}
    editor.session.documents.open(OTHER, "python", 1, "")
    request = editor.session.builder.request_at(editor.session.builder.writable(OTHER))
    assert request is not None
    assert request.workspace_context == evolve(request.workspace_context, recent_edits=())
    assert [snapshot.uri for snapshot in request.workspace_context.open_documents] == [OTHER]


async def test_a_document_that_is_opened_again_has_no_old_state(editor: Editor, engine: ManualEngine) -> None:
    engine.write_on()
    assert await editor.request_completion() is not None
    editor.type("x")
    editor.open()
    await editor.session.read_ahead.settled()
    editor.session.documents.open(OTHER, "python", 1, "")
    request = editor.session.builder.request_at(editor.session.builder.writable(OTHER))
    assert request is not None
    assert request.workspace_context.recent_edits == ()
    state = editor.session.states[editor.key]
    assert (state.last_completion, state.newest_request, state.in_flight) == (None, None, None)


@define(eq=False)
class InterruptedGate:
    """A gate; while it judges, the editor goes on."""

    interrupt: Callable[[], None]

    def decide(self, features: Sequence[float], calm: float) -> Decision:
        self.interrupt()
        return shipped().decide(features, calm)


@pytest.mark.parametrize(
    "interrupt",
    [lambda editor: editor.type("b"), Editor.close, Editor.open, lambda editor: editor.session.documents.focus(OTHER)],
    ids=["edited", "closed", "opened again", "left"],
)
async def test_an_answer_is_for_the_text_that_the_editor_has_once_it_is_judged(
    editor: Editor, engine: ManualEngine, interrupt: Callable[[Editor], None]
) -> None:
    """The statistics compute features of each answer, on the background thread."""
    engine.write_on()
    editor.session.documents.open(OTHER, "python", 1, "import os\n")
    keeper = editor.session.gatekeeper
    keeper.needs_features, keeper.gate = True, InterruptedGate(lambda: interrupt(editor))  # type: ignore[assignment]
    before = editor.session.texts.view(editor.uri)
    answer = await editor.request_completion()
    try:
        is_same = editor.session.texts.view(editor.uri) == before
    except UnknownDocumentError:
        is_same = False
    assert (answer is not None) == is_same
    counts = editor.session.metrics.requests
    assert (counts.answered, counts.superseded) == (int(is_same), int(not is_same))
