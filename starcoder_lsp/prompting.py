"""The first half of the pipeline in `completion.py`: declined documents, the budget, the window, the prompt's ids.

Runs on the background thread, except `prepare`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import evolve, field, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.black_box import working_on
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.context.caching_tokenizer import CachingTokenizer
from starcoder_lsp.context.snippet import SnippetRoom, Sources
from starcoder_lsp.context.snippets import choose_snippets
from starcoder_lsp.context.window import Budget, CrossFileContext, Window
from starcoder_lsp.documents.documents import Snapshot, language_of, unreadable_reason
from starcoder_lsp.documents.globs import matches
from starcoder_lsp.documents.quarantine import may_have_suggestions
from starcoder_lsp.documents.text import is_inside_character
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.documents.workspace import WorkspaceContext, is_secret, workspace_at
from starcoder_lsp.engine.engine import Cancellation, Engine, Prefilled, Prompt, memory_only
from starcoder_lsp.engine.fim import OtherFile
from starcoder_lsp.engine.tokens import fit_head
from starcoder_lsp.settings import Settings

if TYPE_CHECKING:
    from starcoder_lsp.engine.prompt_model import PromptModel

N_HEALED_TOKENS = 4
"""Most tokens of the word before the cursor that the model writes again (token healing). Each may cost a decode call.

Of 360 words of the standard library, cut at random, the demonstrator completed 24 as in the source without healing, 176
with one token, 221 with two, 224 with four or more (the command was not kept).
"""
CROSS_FILE_SHARE = 0.25
"""Largest share of a prompt for pieces of other files. Not measured."""
NO_WORKSPACE = WorkspaceContext()
MIN_COLD_TOKENS = 128
"""Smallest window, however slow the machine: about ten lines. Not measured."""


@frozen
class PromptBuilder:
    """Builds prompts for a model: its vocabulary and format, a caching tokenizer, and the cached windows."""

    prompts: PromptModel
    tokenizer: CachingTokenizer
    anchors: Anchors = field(factory=Anchors)

    @classmethod
    def reading(cls, prompts: PromptModel) -> PromptBuilder:
        """Return one without an engine, to explain prompts."""
        return cls(prompts, CachingTokenizer(prompts.tokenizer))

    @property
    def prefill_speed(self) -> float:
        """Return the prompt tokens evaluated a second; 0 if unknown, and then the budget is not cut."""
        return 0.0


@frozen
class Model(PromptBuilder):
    """A prompt builder with the engine that runs the model."""

    engine: Engine = field(kw_only=True)

    @classmethod
    def of(cls, prompts: PromptModel, engine: Engine) -> Model:
        """Return one with empty caches."""
        return cls(prompts, CachingTokenizer(prompts.tokenizer), engine=engine)

    @property
    def prefill_speed(self) -> float:
        """Return the speed that the engine measured last."""
        return self.engine.prefill_speed


def decline_reason(snapshot: Snapshot, settings: Settings, root: Path | None = None) -> str:
    """Return why a document of the workspace at `root` gets no suggestions, or an empty string."""
    if not settings.enabled:
        return "starcoder.enabled is false"
    language_ids = {snapshot.language_id, language_of(snapshot).id}  # the editor's own id, and the standard one
    if settings.languages and language_ids.isdisjoint(settings.languages):
        return f"starcoder.languages does not name {snapshot.language_id or language_of(snapshot).id!r}"
    for glob in settings.disabled_globs:
        if matches(path_of(snapshot.uri), glob):
            return f"starcoder.disabledGlobs has {glob!r}"
    if not may_have_suggestions(snapshot.uri):
        return "work on it ended the server's process twice"
    if not settings.secret_files and is_secret(snapshot, root):
        return "it looks like a file with secrets, and starcoder.secretFiles is false"
    return unreadable_reason(snapshot) or ""


ModelT_co = TypeVar("ModelT_co", bound=PromptBuilder, covariant=True)


@frozen(eq=False)
class CompletionRequest(Generic[ModelT_co]):
    """A request for at most `n_items` suggestions at `cursor_byte` of `snapshot`. `is_ahead` marks a prefetch."""

    snapshot: Snapshot
    cursor_byte: int
    model: ModelT_co
    settings: Settings
    workspace_context: WorkspaceContext = NO_WORKSPACE
    n_items: int = 1
    is_ahead: bool = False

    @property
    def declined(self) -> str:
        """Return why the document gets no suggestions, or an empty string."""
        return decline_reason(self.snapshot, self.settings, self.workspace_context.root)

    @property
    def document(self) -> str:
        """Return the name under which the engine keeps the document's state: of a secret in memory alone."""
        uri = self.snapshot.uri
        return memory_only(uri) if is_secret(self.snapshot, self.workspace_context.root) else uri


def choose_window(request: CompletionRequest[PromptBuilder]) -> Window:
    """Continue an earlier window, or choose a new one, as large as this machine can prefill while the user waits."""
    model = request.model
    full = full_budget(model, request.settings)
    n_cold = n_cold_tokens(model, request.settings.context.max_prefill_ms)
    cold = Budget(
        n_tokens=min(full.n_tokens, n_cold),
        suffix_share=full.suffix_share,
        n_cross_file_tokens=min(full.n_cross_file_tokens, int(n_cold * CROSS_FILE_SHARE)),
        max_prompt_tokens=min(full.max_prompt_tokens, n_cold),
    )
    return model.anchors.window(
        request.snapshot, request.cursor_byte, full, cold, model.tokenizer, partial(cross_file_context, request)
    )


async def prepare(
    request: CompletionRequest[Model], cancellation: Cancellation, *, is_from_top: bool = False, renew: bool = False
) -> Prefilled | None:
    """Prefill the full window at the cursor of `request`, before the user requests a completion there.

    With `is_from_top`, prefill the window at the top of the file instead: in a short file, most prompts start with its
    text. With `renew`, choose pieces of other files again. Once the prefill is complete, later requests extend that
    window. Tokens that a cancelled prefill evaluated stay cached. Return `None` if the document gets no suggestions.
    Raises `EngineError`.
    """
    model = request.model
    if request.declined or not model.engine.capabilities.prefill:
        return None

    def choose() -> tuple[Window, Prompt] | None:
        if cancellation.is_cancelled:
            return None
        with working_on(request.snapshot.uri):
            window = _full_window(request, is_from_top=is_from_top, renew=renew)
            return window, build_prompt(window, model)

    chosen = await in_background(choose)
    if chosen is None or cancellation.is_cancelled:
        return Prefilled(0, is_complete=False)
    window, prompt = chosen
    prefilled = await model.engine.prefill(request.document, prompt, cancellation)
    if prefilled.is_complete and not cancellation.is_cancelled:  # else a later text may be cached by now
        await in_background(model.anchors.remember, window)
    return prefilled


def _full_window(request: CompletionRequest[PromptBuilder], *, is_from_top: bool, renew: bool) -> Window:
    """Choose the full window at the cursor, or at the end of the text that fits from the top."""
    model, data = request.model, request.snapshot.text.data
    budget, cursor_byte = full_budget(model, request.settings), request.cursor_byte
    if is_from_top:
        cursor_byte = fit_head(model.tokenizer, data, int(budget.n_tokens * (1 - budget.suffix_share)))
    while is_inside_character(data, cursor_byte):
        cursor_byte -= 1
    request = evolve(request, cursor_byte=min(cursor_byte, len(data)))
    return model.anchors.full_window(
        request.snapshot,
        request.cursor_byte,
        budget,
        model.tokenizer,
        partial(cross_file_context, request),
        renew=renew,
    )


def full_budget(model: PromptBuilder, settings: Settings) -> Budget:
    """Return the configured budget, cut to what fits the model's context beside the answer."""
    n_room = max(16, model.prompts.n_context - settings.completion.max_tokens - model.prompts.fim.frame.n_tokens)
    n_cross_file_tokens = (
        min(settings.context.max_snippet_tokens, int(n_room * CROSS_FILE_SHARE))
        if model.prompts.fim.has_repository
        else 0
    )
    return Budget(min(settings.context.max_tokens, n_room), settings.context.suffix_share, n_cross_file_tokens, n_room)


def cross_file_context(request: CompletionRequest[PromptBuilder], n_tokens: int) -> CrossFileContext | None:
    """Choose pieces of other files that take at most `n_tokens`; return `None` if there are none."""
    snapshot, settings, model, around = request.snapshot, request.settings, request.model, request.workspace_context
    context, fim, encode = settings.context, model.prompts.fim, model.tokenizer.encode
    sources = Sources(context.open_files, context.recent_edits, context.imports, settings.disabled_globs)
    workspace = workspace_at(around.root)
    name = around.root.name if around.root is not None else ""
    framed = partial(fim.repository_frame, encode, name, workspace.name_of(path_of(snapshot.uri)))
    room = SnippetRoom(
        n_tokens=n_tokens - (framed().n_tokens - fim.frame.n_tokens),
        tokenizer=model.tokenizer,
        n_tokens_in_prompt=lambda path, ids: fim.n_file_tokens(encode, OtherFile(path, ids)),
    )
    snippets = fim.in_order(choose_snippets(snapshot, request.cursor_byte, around, sources, room))
    if not snippets:
        return None
    frame = framed([OtherFile(snippet.path, snippet.ids) for snippet in snippets])
    return CrossFileContext(snippets, frame, frame.n_tokens - fim.frame.n_tokens)


def n_cold_tokens(model: PromptBuilder, max_prefill_ms: float) -> int:
    """Return how many tokens this machine prefills in `max_prefill_ms`, at least `MIN_COLD_TOKENS`.

    Return the model's context length while the speed is unknown.
    """
    if not model.prefill_speed:
        return model.prompts.n_context
    return max(MIN_COLD_TOKENS, int(model.prefill_speed * max_prefill_ms / 1000))


def build_prompt(window: Window, model: PromptBuilder) -> Prompt:
    """Lay the window out in the format of the model's training.

    Token healing: the last tokens of the word before the cursor are removed, and the answer must begin with their bytes
    instead. A whole word has other tokens than its first half.
    """
    middle_ids, heal = list(window.middle.ids), b""
    while middle_ids and len(window.middle.ids) - len(middle_ids) < N_HEALED_TOKENS and (not heal or _in_word(heal[0])):
        heal = model.tokenizer.piece(middle_ids.pop()) + heal
    frame = window.cross_file.frame if window.cross_file is not None else None
    return model.prompts.fim.infill(window.prefix.ids, window.suffix.ids, middle_ids, heal, frame)


def _in_word(byte: int) -> bool:
    """Return whether a byte belongs to a letter, a digit or `_`. Bytes beyond ASCII count as letters."""
    return byte >= 0x80 or bytes([byte]).isalnum() or byte == ord("_")  # noqa: PLR2004
