"""Requests for code actions, and their outcome on a scripted engine."""

from __future__ import annotations

from attrs import frozen

from starcoder_lsp.documents.documents import Documents, Snapshot
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.engine import Cancellation
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import NO_WORKSPACE, CompletionRequest, Model
from starcoder_lsp.rewrites.rewrite import ACTION_KINDS, Rewrite, fill_hole
from starcoder_lsp.rewrites.targets import ActionRequest, Hole
from starcoder_lsp.settings import Settings
from tests.scripted import Scripted

DEFAULTS = Settings()
KIND_OF = {kind.name: kind for kind in ACTION_KINDS}
ENDINGS = {"python": "py", "javascript": "js", "typescript": "ts", "rust": "rs", "go": "go"}


def opened(text: str, language: str = "python", uri: str = "") -> Snapshot:
    return Documents().open(uri or f"file:///src/a.{ENDINGS.get(language, language)}", language, 1, text)


def action_request(marked: str, language: str = "python", message: str = "", uri: str = "") -> ActionRequest:
    """Return the request at `█`, or for the text between two of them."""
    before, *rest = marked.split("█")
    start = len(before.encode())
    selected = rest[0] if len(rest) > 1 else ""
    snapshot = opened(before + "".join(rest), language, uri)
    return ActionRequest(snapshot, start, start + len(selected.encode()), message)


def hole_of(kind: str, at: ActionRequest, around: WorkspaceContext = NO_WORKSPACE) -> Hole:
    hole = KIND_OF[kind].find(at)
    assert hole is not None
    return KIND_OF[kind].place(hole, around, DEFAULTS)


def edited_text(rewrite: Rewrite) -> str:
    """Return the document's text after the edit."""
    data = rewrite.snapshot.text.data
    return (data[: rewrite.start_byte] + rewrite.text.encode() + data[rewrite.end_byte :]).decode()


@frozen
class Run:
    """The outcome of an action whose text a scripted engine wrote."""

    rewrite: Rewrite
    hole: Hole
    prompt: str

    @property
    def text(self) -> str:
        return edited_text(self.rewrite)


def completion_request(hole: Hole, model: Model, context: WorkspaceContext = NO_WORKSPACE) -> CompletionRequest[Model]:
    return CompletionRequest(hole.snapshot, hole.start_byte, model, DEFAULTS, context)


async def run_action(
    prompts: PromptModel, kind: str, at: ActionRequest, writes: str, around: WorkspaceContext = NO_WORKSPACE
) -> Run:
    engine = Scripted(prompts, writes.encode())
    hole = hole_of(kind, at, around)
    rewrite = await fill_hole(hole, completion_request(hole, Model.of(prompts, engine), around), Cancellation())
    request = engine.requests[-1].prompt
    prompt = (b"".join(map(prompts.tokenizer.piece, request.ids)) + request.heal).decode()
    return Run(rewrite, hole, prompt)
