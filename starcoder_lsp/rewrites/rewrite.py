"""Code actions: the model writes a function's body, selected lines, a docstring or a test, and changes nothing else.

`ActionRequest -> Hole -> Rewrite`. The text in the hole is hidden from the model. The model writes new text between the
lines above and below, by the stages and filters of `completion.py`. `ACTION_KINDS` has a row for each action.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import evolve, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.completion import Completion, generation_request, to_completion
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.context.window import Window, normalized
from starcoder_lsp.documents.documents import Snapshot, fresh, language_of, spliced
from starcoder_lsp.documents.text import Text
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.documents.workspace import WorkspaceContext, workspace_at
from starcoder_lsp.engine.engine import Cancellation, CompletionOutput, Generation, Prompt
from starcoder_lsp.engine.generation import OnTexts, generate
from starcoder_lsp.prompting import CompletionRequest, Model, build_prompt, choose_window
from starcoder_lsp.rewrites.targets import (
    MAX_LINES,
    ActionRequest,
    Hole,
    fill_body,
    line_end_of,
    rewrite_diagnostic,
    rewrite_selection,
    write_docstring,
    write_test,
)
from starcoder_lsp.rewrites.test_files import fill_template, find_test_file
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.cursor_context import CursorContext, describe_cursor
from starcoder_lsp.suggestions.stopping import stop_rule

MAX_NEW_TOKENS = 256
"""Limit on an answer, some 25 lines. The user waits for it and sees its progress. Not measured."""
CONTEXT_SHARE = 0.25
"""Largest share of a small context for the answer. Not measured."""
TIMEOUT_MS = 60_000
"""Deadline of an answer. Not measured."""
LOOP = re.compile(rb"((?:\n[^\n]*){1,4}?)\1{2}(?=\n)")
"""A loop: one to four lines, three times in a row. It occurs in long answers."""
MIN_LOOP_BYTES = 12
"""Shorter repeated lines, such as closing braces, are no loop. Not measured."""


class CannotWriteError(Exception):
    """The model cannot write there. The error's text is one line for the user."""


@frozen
class Rewrite:
    """`text` replaces `start_byte` to `end_byte` of `snapshot`. If it is empty, `completion.reason` says why."""

    snapshot: Snapshot
    start_byte: int
    end_byte: int
    text: str
    is_new_file: bool
    completion: Completion


def move_to_test_file(hole: Hole, around: WorkspaceContext, settings: Settings) -> Hole:
    """Move a test's hole to the end of the test file, or to a new file.

    Raises `CannotWriteError` if the model may not see the test file.
    """
    source, testing = hole.snapshot, language_of(hole.snapshot).test
    if testing is None:
        return hole
    root = around.root.as_posix() if around.root is not None else None
    path, exists = find_test_file(path_of(source.uri), root, testing)
    snapshot = next((each for each in around.open_documents if path_of(each.uri) == path), None)
    if snapshot is None and exists:
        snapshot = workspace_at(around.root).read(path, settings.disabled_globs)
        if snapshot is None:
            message = f"{Path(path).name} exists, but the model may not see it"
            raise CannotWriteError(message)
    if snapshot is None:
        snapshot = fresh(Path(path).as_uri(), source.language_id, 0, Text.from_bytes(b""))
    data, line_end = snapshot.text.data, line_end_of(snapshot.text)
    if data:
        head = "\n" * (1 if language_of(source).blocks == "brace" else 2)
        head = head if data.endswith((b"\n", b"\r")) else "\n" + head
    else:
        head = _fill_head(testing.head, snapshot, root, hole)
    begin, end = (fill_template(form, path, root, source, hole.name) for form in testing.begin.split("{}"))
    lead, trail = (part.encode("utf-8", "replace").replace(b"\n", line_end) for part in (head + begin, end))
    at = len(data)
    return evolve(
        hole,
        snapshot=snapshot,
        start_byte=at,
        end_byte=at,
        hint=(line_end if data else b"") + hole.hint,
        lead=lead,
        trail=trail + line_end,
        is_new_file=not exists and not data,
    )


def _fill_head(form: str, new: Snapshot, root: str | None, hole: Hole) -> str:
    """Fill the start of a new test file. It is empty if it would have a syntax error.

    Module names begin at the folder nearest to `root` that makes them valid: `my-app` cannot be a part of one.
    """
    folders = [folder.as_posix() for folder in Path(path_of(hole.snapshot.uri)).parents]
    below = (folder for folder in reversed(folders) if root is not None and Path(folder).is_relative_to(root))
    for folder in tuple(below) or (root,):
        head = fill_template(form, path_of(new.uri), folder, hole.snapshot, hole.name)
        syntax = spliced(new, 0, 0, head.encode("utf-8", "replace")).syntax
        if syntax is None or not syntax.error_count():
            return head
    return ""


@frozen
class ActionKind:
    """One kind of code action.

    `protocol_kind` is the LSP kind, `title` has `{}` for the hole's name, and `find` returns the hole by syntax alone.
    `place` moves the hole to its final place once the user picks the action. With `is_about_message` the action is
    offered for diagnostics only, otherwise for places only.
    """

    name: str
    protocol_kind: str
    title: str
    find: Callable[[ActionRequest], Hole | None]
    place: Callable[[Hole, WorkspaceContext, Settings], Hole] = lambda hole, _around, _settings: hole
    is_about_message: bool = False


ACTION_KINDS = (
    ActionKind("diagnostic", "quickfix", "Rewrite for: {}", rewrite_diagnostic, is_about_message=True),
    ActionKind("body", "refactor.rewrite", "Fill the body of {}", fill_body),
    ActionKind("selection", "refactor.rewrite", "Rewrite the selected lines", rewrite_selection),
    ActionKind("docstring", "refactor.rewrite", "Write a docstring for {}", write_docstring),
    ActionKind("test", "refactor.rewrite", "Write a test for {}", write_test, move_to_test_file),
)


def offer_actions(action: ActionRequest) -> Iterator[tuple[ActionKind, Hole]]:
    """Yield the actions to offer at a place, or for a diagnostic. Uses the syntax only, not the model."""
    for kind in ACTION_KINDS:
        hole = kind.find(action) if kind.is_about_message == bool(action.message) else None
        if hole is not None and hole.n_lines <= MAX_LINES:
            yield kind, hole


async def fill_hole(
    hole: Hole,
    request: CompletionRequest[Model],
    cancellation: Cancellation,
    *,
    on_texts: OnTexts = lambda _texts: None,
) -> Rewrite:
    """Let the model fill a hole, with the model, settings and workspace of `request`.

    Raises `EngineError`. If the answer is of no use, the text is empty.
    """
    model = request.model
    request = evolve(request, settings=_settings_for_rewrites(request.settings, model.prompts.n_context))
    cursor, window, prompt = await in_background(_choose_prompt, hole, request)
    rule = stop_rule(cursor)
    generation = await generate(
        model.engine,
        generation_request(evolve(request, snapshot=window.snapshot), prompt),
        model.tokenizer.piece,
        lambda text: "end" if _end_of(text, hole) is not None else rule(text),
        cancellation,
        on_texts=on_texts,
    )
    return await in_background(_to_rewrite, hole, cursor, window, generation)


def _settings_for_rewrites(settings: Settings, n_context: int) -> Settings:
    """Return settings with more tokens and time than for a suggestion, and no confidence threshold."""
    completion = evolve(
        settings.completion,
        max_tokens=max(settings.completion.max_tokens, min(MAX_NEW_TOKENS, int(n_context * CONTEXT_SHARE))),
        timeout_ms=max(TIMEOUT_MS, settings.completion.timeout_ms),
        min_confidence=-math.inf,
    )
    return evolve(settings, completion=completion)


def _choose_prompt(hole: Hole, request: CompletionRequest[Model]) -> tuple[CursorContext, Window, Prompt]:
    """Hide the text in the hole, choose the window, and build the prompt."""
    given = hole.hint + hole.lead
    snapshot = spliced(hole.snapshot, hole.start_byte, hole.end_byte, given + hole.trail)
    cursor_byte = hole.start_byte + len(given)
    cursor = evolve(describe_cursor(snapshot, cursor_byte, "always"), floor=hole.floor, allows_docstring=True)
    window = _choose_window(evolve(request, snapshot=snapshot, cursor_byte=cursor_byte))
    return cursor, window, build_prompt(window, request.model)


def _to_rewrite(hole: Hole, cursor: CursorContext, window: Window, generation: Generation) -> Rewrite:
    """Filter the answer and fit it to the hole."""
    generation = evolve(generation, written=tuple(_cut_at_end(one, hole) for one in generation.written))
    completion = to_completion(window, cursor, generation)
    nothing = Rewrite(hole.snapshot, hole.start_byte, hole.end_byte, "", hole.is_new_file, completion)
    if not completion.items:
        return nothing
    n_replaced = completion.items[0].n_replaced_bytes  # of the trail first, then of the text after it
    text = hole.lead.decode() + completion.text + hole.trail[n_replaced:].decode()
    end_byte = hole.end_byte + max(0, n_replaced - len(hole.trail))
    if _breaks_syntax(text, end_byte, hole):
        return evolve(nothing, completion=evolve(completion, items=(), reason="not whole"))
    return evolve(nothing, end_byte=end_byte, text=text)


def _breaks_syntax(text: str, end_byte: int, hole: Hole) -> bool:
    """Return whether `text` adds the first syntax error to a file, or ends with a function's header without a body."""
    before = hole.snapshot.syntax
    syntax = spliced(hole.snapshot, hole.start_byte, end_byte, text.encode()).syntax
    if syntax is None or before is None:
        return False
    scopes = syntax.enclosing_scopes(hole.start_byte + len(text.rstrip().encode()) - 1)
    last = scopes[-1] if scopes and language_of(hole.snapshot).blocks == "indent" else None
    ends_with_header = last and hole.start_byte <= last.start_byte and last.body_start_byte == last.end_byte
    return bool(ends_with_header or (syntax.error_count() and not before.error_count()))


def _choose_window(request: CompletionRequest[Model]) -> Window:
    """Choose the window, without caching it: its text is not the editor's.

    Reuse a cached window only if its suffix equals the text after the hole. The sticky bytes of another one could be
    hidden text.
    """
    model, data = request.model, request.snapshot.text.data
    window = choose_window(evolve(request, model=evolve(model, anchors=model.anchors.copy())))
    if normalized(data[request.cursor_byte :]).startswith(window.text_after_cursor):
        return window
    return choose_window(evolve(request, model=evolve(model, anchors=Anchors())))


def _end_of(text: bytes, hole: Hole) -> int | None:
    """Return where an answer ends by the hole's own rule, or after the first round of a loop; `None` if nowhere."""
    found = hole.end.search(text) if hole.end is not None else None
    if found is not None:
        return found.start()
    loops = (loop for loop in LOOP.finditer(text) if len(loop[1].strip()) >= MIN_LOOP_BYTES)
    return next((loop.end(1) for loop in loops), None)


def _cut_at_end(written: CompletionOutput, hole: Hole) -> CompletionOutput:
    """Cut an answer at its end, where its last line counts as complete."""
    end = _end_of(written.text + b"\n", hole)
    return written if end is None else evolve(written, text=written.text[:end], stop_reason="end")
