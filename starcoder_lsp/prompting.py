"""From a place in a document to the prompt: which documents get any, how much is shown, the window, the token ids.

The first half of the pipeline in `completion.py`. Runs on the background thread, but for `prepare`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import evolve, field, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.context.caching_tokenizer import CachingTokenizer
from starcoder_lsp.context.snippets import Sources, choose_snippets
from starcoder_lsp.context.window import Budget, CrossFileContext, Window
from starcoder_lsp.documents.documents import Snapshot, language_of, unreadable_reason
from starcoder_lsp.documents.globs import matches
from starcoder_lsp.documents.text import is_inside_character
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.documents.workspace import WorkspaceContext, workspace_at
from starcoder_lsp.engine.engine import Cancellation, Engine, Prefilled, Prompt
from starcoder_lsp.engine.fim import N_PSM_MARKERS, RepositoryFile
from starcoder_lsp.engine.tokens import Tokenizer, fit_head
from starcoder_lsp.settings import Settings

if TYPE_CHECKING:
    from starcoder_lsp.engine.prompt_model import PromptModel

N_HEALED_TOKENS = 4
"""Tokens that the word before the cursor may give back, each of which may cost a decode call.

Words that the demonstrator ends as their author did, of 360 in the standard library that were cut at random: 24 if none
is given back, 176 with one token, 221 with two, 224 with four or more.
"""
CROSS_FILE_SHARE = 0.25
"""Share of a prompt that other files may take at most."""
NO_WORKSPACE = WorkspaceContext()
MIN_COLD_TOKENS = 128
"""However slow the machine: with less than some ten lines a model guesses blindly."""


@frozen
class PromptBuilder:
    """What choosing a prompt needs: the model's vocabulary and format, and what makes the next keystroke cheap.

    That is a tokenizer that remembers texts, and each document's last windows.
    """

    prompts: PromptModel
    tokenizer: Tokenizer
    anchors: Anchors = field(factory=Anchors)

    @classmethod
    def reading(cls, prompts: PromptModel) -> PromptBuilder:
        """One without an engine, to see what would be asked."""
        return cls(prompts, CachingTokenizer(prompts.tokenizer))

    @property
    def prefill_speed(self) -> float:
        """Prompt tokens evaluated in a second; 0 if that is not known, and then the window is the whole one."""
        return 0.0


@frozen
class Model(PromptBuilder):
    """The same with an engine that runs the model."""

    engine: Engine = field(kw_only=True)

    @classmethod
    def of(cls, prompts: PromptModel, engine: Engine) -> Model:
        """Begin with nothing remembered."""
        return cls(prompts, CachingTokenizer(prompts.tokenizer), engine=engine)

    @property
    def prefill_speed(self) -> float:
        """As the engine measured it lately."""
        return self.engine.prefill_speed


def decline_reason(snapshot: Snapshot, settings: Settings) -> str:
    """Why this document gets no suggestions, or an empty string."""
    if not settings.enabled:
        return "starcoder.enabled is false"
    language_ids = {snapshot.language_id, language_of(snapshot).id}  # an editor's own name for it, and the usual one
    if settings.languages and language_ids.isdisjoint(settings.languages):
        return f"starcoder.languages does not name {snapshot.language_id or language_of(snapshot).id!r}"
    for glob in settings.disabled_globs:
        if matches(path_of(snapshot.uri), glob):
            return f"starcoder.disabledGlobs has {glob!r}"
    return unreadable_reason(snapshot) or ""


ModelT_co = TypeVar("ModelT_co", bound=PromptBuilder, covariant=True)


@frozen(eq=False)
class CompletionRequest(Generic[ModelT_co]):
    """At most `n_items` suggestions are wanted at `cursor_byte` of `snapshot`."""

    snapshot: Snapshot
    cursor_byte: int
    model: ModelT_co
    settings: Settings
    workspace_context: WorkspaceContext = NO_WORKSPACE
    n_items: int = 1
    is_ahead: bool = False
    """Whether nobody waits for them."""


def choose_window(request: CompletionRequest[PromptBuilder]) -> Window:
    """Go on with an earlier window, or choose a new one: as large as can be read while somebody waits."""
    model = request.model
    full = full_budget(model, request.settings)
    n_cold = n_cold_tokens(model, request.settings.context.max_prefill_ms)
    cold = Budget(
        n_tokens=min(full.n_tokens, n_cold),
        suffix_share=full.suffix_share,
        n_head_tokens=min(full.n_head_tokens, int(n_cold * CROSS_FILE_SHARE)),
        n_room=min(full.n_room, n_cold),
    )
    return model.anchors.window(
        request.snapshot, request.cursor_byte, full, cold, model.tokenizer, partial(cross_file_context, request)
    )


async def prepare(
    request: CompletionRequest[Model], cancellation: Cancellation, *, is_from_top: bool = False, renew: bool = False
) -> Prefilled | None:
    """Evaluate ahead of need what `request` could show the model if nobody waited for it.

    With `is_from_top` it is the text from the top, which most places of a short file have above them, whatever the
    cursor is. `None` where there are no suggestions. Once it is complete, the requests that follow go on with it; a
    cancelled one goes on when it is asked for again. With `renew` the other files are looked at again. Raises
    `EngineError`.
    """
    snapshot, model = request.snapshot, request.model
    if decline_reason(snapshot, request.settings) or not model.engine.capabilities.prefill:
        return None

    def choose() -> tuple[Window, Prompt] | None:
        if cancellation.is_cancelled:
            return None
        window = _full_window(request, is_from_top=is_from_top, renew=renew)
        return window, build_prompt(window, model)

    chosen = await in_background(choose)
    if chosen is None or cancellation.is_cancelled:
        return Prefilled(0, is_complete=False)
    window, prompt = chosen
    prefilled = await model.engine.prefill(snapshot.uri, prompt, cancellation)
    if prefilled.is_complete and not cancellation.is_cancelled:  # otherwise a later text may be remembered by now
        await in_background(model.anchors.remember, window)
    return prefilled


def _full_window(request: CompletionRequest[PromptBuilder], *, is_from_top: bool, renew: bool) -> Window:
    """The full window at a place, or at the top."""
    model, data = request.model, request.snapshot.text.data
    budget, cursor_byte = full_budget(model, request.settings), request.cursor_byte
    if is_from_top:
        cursor_byte = fit_head(model.tokenizer, data, int(budget.n_tokens * (1 - budget.suffix_share)))
    while is_inside_character(data, cursor_byte):
        cursor_byte -= 1
    request = evolve(request, cursor_byte=min(cursor_byte, len(data)))
    return model.anchors.whole_window(
        request.snapshot,
        request.cursor_byte,
        budget,
        model.tokenizer,
        partial(cross_file_context, request),
        renew=renew,
    )


def full_budget(model: PromptBuilder, settings: Settings) -> Budget:
    """The configured budget, or what the context leaves."""
    n_room = max(16, model.prompts.n_context - settings.completion.max_tokens - N_PSM_MARKERS)
    n_head_tokens = (
        min(settings.context.max_snippet_tokens, int(n_room * CROSS_FILE_SHARE))
        if model.prompts.fim.has_repository
        else 0
    )
    return Budget(min(settings.context.max_tokens, n_room), settings.context.suffix_share, n_head_tokens, n_room)


def cross_file_context(request: CompletionRequest[PromptBuilder], n_tokens: int) -> CrossFileContext | None:
    """What to show of other files in at most `n_tokens`, or `None`."""
    snapshot, settings, model, around = request.snapshot, request.settings, request.model, request.workspace_context
    context, encode = settings.context, model.tokenizer.encode
    sources = Sources(context.open_files, context.recent_edits, context.imports, settings.disabled_globs)
    workspace = workspace_at(around.root)
    name_ids = encode(around.root.name.encode() if around.root is not None else b"")
    path_ids = encode(workspace.name_of(path_of(snapshot.uri)).encode() + b"\n")
    n_left = n_tokens - len(name_ids) - len(path_ids) - 2
    snippets = choose_snippets(snapshot, request.cursor_byte, around, sources, n_left, model.tokenizer)
    files = tuple(RepositoryFile(encode(snippet.path.encode() + b"\n"), snippet.ids) for snippet in snippets)
    return CrossFileContext(snippets, files, name_ids, path_ids) if files else None


def n_cold_tokens(model: PromptBuilder, max_prefill_ms: float) -> int:
    """How many tokens this machine evaluates in `max_prefill_ms`, as far as it is known; at least a few lines."""
    if not model.prefill_speed:
        return model.prompts.n_context
    return max(MIN_COLD_TOKENS, int(model.prefill_speed * max_prefill_ms / 1000))


def build_prompt(window: Window, model: PromptBuilder) -> Prompt:
    """Lay the window out as the model was trained.

    The tokens of the word before the cursor are given back to the model as bytes: it may go on with the word, and the
    whole word has other tokens than its beginning.
    """
    middle_ids, heal = list(window.middle.ids), b""
    while middle_ids and len(window.middle.ids) - len(middle_ids) < N_HEALED_TOKENS and (not heal or _in_word(heal[0])):
        heal = model.tokenizer.piece(middle_ids.pop()) + heal
    head = window.head
    if head is None:
        return model.prompts.fim.psm(window.prefix.ids, window.suffix.ids, middle_ids, heal)
    return model.prompts.fim.repository(
        head.name_ids, head.files, head.path_ids, window.prefix.ids, window.suffix.ids, middle_ids, heal
    )


def _in_word(byte: int) -> bool:
    """Whether a byte is of a letter, a digit or `_`; what is not ASCII counts as a letter."""
    return byte >= 0x80 or bytes([byte]).isalnum() or byte == ord("_")  # noqa: PLR2004
