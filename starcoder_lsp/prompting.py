"""From a place in a document to the prompt: which documents get any, how much is shown, the window, the token ids.

The first half of the pipeline in `completion.py`. Runs on the background thread, but for `prepare`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import field, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.context.remembered import RememberingTokenizer
from starcoder_lsp.context.snippets import Sources, choose_snippets
from starcoder_lsp.context.window import Budget, Head, Window
from starcoder_lsp.documents.documents import Snapshot, decline_reason, language_of
from starcoder_lsp.documents.globs import matches, path_of
from starcoder_lsp.documents.text import is_inside_character
from starcoder_lsp.documents.workspace import Surroundings, workspace_at
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
HEAD_SHARE = 0.25
"""Share of a prompt that other files may take at most."""
NOWHERE = Surroundings()
N_LEAST_COLD_TOKENS = 128
"""However slow the machine: with less than some ten lines a model guesses blindly."""


@frozen
class Prompter:
    """What choosing a prompt needs: the model's vocabulary and format, and what makes the next keystroke cheap.

    That is a tokenizer that remembers texts, and each document's last windows.
    """

    prompts: PromptModel
    tokenizer: Tokenizer
    anchors: Anchors = field(factory=Anchors)

    @classmethod
    def reading(cls, prompts: PromptModel) -> Prompter:
        """One without an engine, to see what would be asked."""
        return cls(prompts, RememberingTokenizer(prompts.tokenizer))

    @property
    def prefill_speed(self) -> float:
        """Prompt tokens evaluated in a second; 0 if that is not known, and then the window is the whole one."""
        return 0.0


@frozen
class Model(Prompter):
    """The same with an engine that runs the model."""

    engine: Engine = field(kw_only=True)

    @classmethod
    def of(cls, prompts: PromptModel, engine: Engine) -> Model:
        """Begin with nothing remembered."""
        return cls(prompts, RememberingTokenizer(prompts.tokenizer), engine=engine)

    @property
    def prefill_speed(self) -> float:
        """As the engine measured it lately."""
        return self.engine.prefill_speed


def why_not(snapshot: Snapshot, settings: Settings) -> str:
    """Why this document gets no suggestions, or an empty string."""
    if not settings.enabled:
        return "starcoder.enabled is false"
    language_ids = {snapshot.language_id, language_of(snapshot).id}  # an editor's own name for it, and the usual one
    if settings.languages and language_ids.isdisjoint(settings.languages):
        return f"starcoder.languages does not name {snapshot.language_id or language_of(snapshot).id!r}"
    for glob in settings.disabled_globs:
        if matches(path_of(snapshot.uri), glob):
            return f"starcoder.disabledGlobs has {glob!r}"
    return decline_reason(snapshot) or ""


def see(
    snapshot: Snapshot, cursor_byte: int, model: Prompter, settings: Settings, around: Surroundings = NOWHERE
) -> Window:
    """Choose the window, or go on with an earlier one. A new one is as large as can be read while somebody waits."""
    whole = whole_budget(model, settings)
    n_cold = n_cold_tokens(model, settings.context.max_prefill_ms)
    cold = Budget(
        n_tokens=min(whole.n_tokens, n_cold),
        suffix_share=whole.suffix_share,
        n_head_tokens=min(whole.n_head_tokens, int(n_cold * HEAD_SHARE)),
        n_room=min(whole.n_room, n_cold),
    )
    choose_head = partial(head_of, snapshot, cursor_byte, around, model, settings)
    return model.anchors.window(snapshot, cursor_byte, whole, cold, model.tokenizer, choose_head)


async def prepare(
    snapshot: Snapshot,
    cursor_byte: int | None,
    model: Model,
    settings: Settings,
    cancellation: Cancellation,
    around: Surroundings = NOWHERE,
    *,
    renew: bool = False,
) -> Prefilled | None:
    """Evaluate ahead of need what a request at this place could show the model if nobody waited for it.

    Without a place it is the text from the top, which most places of a short file have above them. `None` where there
    are no suggestions. Once it is complete, the requests that follow go on with it; a cancelled one goes on when it is
    asked for again. With `renew` the other files are looked at again. Raises `EngineError`.
    """
    if why_not(snapshot, settings) or not model.engine.capabilities.prefill:
        return None

    def question() -> tuple[Window, Prompt] | None:
        if cancellation.is_cancelled:
            return None
        window = _window_ahead(snapshot, cursor_byte, model, settings, around, renew=renew)
        return window, ask(window, model)

    asked = await in_background(question)
    if asked is None or cancellation.is_cancelled:
        return Prefilled(0, is_complete=False)
    window, prompt = asked
    prefilled = await model.engine.prefill(snapshot.uri, prompt, cancellation)
    if prefilled.is_complete and not cancellation.is_cancelled:  # otherwise a later text may be remembered by now
        await in_background(model.anchors.remember, window)
    return prefilled


def _window_ahead(
    snapshot: Snapshot,
    cursor_byte: int | None,
    model: Prompter,
    settings: Settings,
    around: Surroundings,
    *,
    renew: bool,
) -> Window:
    """The whole window at a place, or at the top."""
    budget, data = whole_budget(model, settings), snapshot.text.data
    if cursor_byte is None:
        cursor_byte = fit_head(model.tokenizer, data, int(budget.n_tokens * (1 - budget.suffix_share)))
    while is_inside_character(data, cursor_byte):
        cursor_byte -= 1
    cursor_byte = min(cursor_byte, len(data))
    choose_head = partial(head_of, snapshot, cursor_byte, around, model, settings)
    return model.anchors.whole_window(snapshot, cursor_byte, budget, model.tokenizer, choose_head, renew=renew)


def whole_budget(model: Prompter, settings: Settings) -> Budget:
    """The configured budget, or what the context leaves."""
    n_room = max(16, model.prompts.n_context - settings.completion.max_tokens - N_PSM_MARKERS)
    n_head_tokens = (
        min(settings.context.max_snippet_tokens, int(n_room * HEAD_SHARE)) if model.prompts.fim.has_repository else 0
    )
    return Budget(min(settings.context.max_tokens, n_room), settings.context.suffix_share, n_head_tokens, n_room)


def head_of(
    snapshot: Snapshot, cursor_byte: int, around: Surroundings, model: Prompter, settings: Settings, n_tokens: int
) -> Head | None:
    """What to show of other files in at most `n_tokens`, or `None`."""
    context, encode = settings.context, model.tokenizer.encode
    sources = Sources(context.open_files, context.recent_edits, context.imports, settings.disabled_globs)
    workspace = workspace_at(around.root)
    name_ids = encode(around.root.name.encode() if around.root is not None else b"")
    path_ids = encode(workspace.name_of(path_of(snapshot.uri)).encode() + b"\n")
    n_left = n_tokens - len(name_ids) - len(path_ids) - 2
    snippets = choose_snippets(snapshot, cursor_byte, around, sources, n_left, model.tokenizer)
    files = tuple(RepositoryFile(encode(snippet.path.encode() + b"\n"), snippet.ids) for snippet in snippets)
    return Head(snippets, files, name_ids, path_ids) if files else None


def n_cold_tokens(model: Prompter, max_prefill_ms: float) -> int:
    """How many tokens this machine evaluates in `max_prefill_ms`, as far as it is known; at least a few lines."""
    if not model.prefill_speed:
        return model.prompts.n_context
    return max(N_LEAST_COLD_TOKENS, int(model.prefill_speed * max_prefill_ms / 1000))


def ask(window: Window, model: Prompter) -> Prompt:
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
