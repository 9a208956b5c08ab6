"""The anchor policy: which earlier window serves the next request, so that typing only appends to the prompt.

An anchor is the start of a line. A window is prefilled once: the prefix, which is the text above the anchor, and the
suffix, which is the text after the cursor. What the user types after that is the known part of the middle: the layout
that the model was trained on. A request needs a new window if the prefix or the suffix really changed, if the cursor
moved elsewhere, or if the middle outgrew its room.
Edits elsewhere in the file move the windows along. A new window starts where an earlier one did if that shows enough:
then the two share the KV cells of the common prefix.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from starcoder_lsp.context.extending import extend, extend_in_later_text, move_window
from starcoder_lsp.context.new_window import new_window
from starcoder_lsp.context.outline import NO_OUTLINE, Outline
from starcoder_lsp.context.text_change import TextChange
from starcoder_lsp.context.window import Budget, CrossFileContext, Segments, Window
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.embedded import embedded_documents
from starcoder_lsp.engine.tokens import Tokenizer
from starcoder_lsp.lru import LruDict

MAX_WINDOWS = 16
"""Windows cached for each document, since users return to earlier places.

With one window 51.4 prompt tokens are evaluated for each edit, with 16 of them 47.4: `bench/evaluated.py`.
"""
MAX_DOCUMENTS = 16
"""Documents with cached windows; each holds a text and its tree. Not measured."""

CrossFileChooser = Callable[[int], CrossFileContext | None]
"""Chooses pieces of other files that take at most so many tokens."""


def no_cross_file(_n_tokens: int) -> None:
    """Choose nothing of other files."""


@frozen
class DocumentWindows:
    """The cached windows of one document, moved along with its edits.

    `windows` and `prefix_starts` (see `TextChange.prefix_start`) have the newest first. `outline` lists the definitions
    of an earlier text. Definitions edited since are missing until `Anchors.full_window` parses again.
    """

    snapshot: Snapshot
    windows: tuple[Window, ...] = ()
    prefix_starts: tuple[Segments, ...] = ()
    outline: Outline = NO_OUTLINE
    cross_file: CrossFileContext | None = None
    n_cross_file_tokens: int = 0
    """The token limit with which `cross_file` was chosen; 0 before that."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> DocumentWindows:
        """Return the entry of a new document: no windows, but its outline."""
        return cls(snapshot, outline=_outline(snapshot))

    def moved_to(self, snapshot: Snapshot) -> DocumentWindows:
        """Return the same for a later text, without the windows whose prefix was edited."""
        if snapshot.text is self.snapshot.text:
            return self
        change = TextChange.between(self.snapshot.text.data, snapshot.text.data)
        windows = (move_window(window, snapshot, change) for window in self.windows)
        return evolve(
            self,
            snapshot=snapshot,
            windows=tuple(window for window in windows if window is not None),
            prefix_starts=tuple(start for start in map(change.prefix_start, self.prefix_starts) if start),
            outline=self.outline.moved(change),
        )

    def with_cross_file(self, cross_file: CrossFileContext | None, n_tokens: int) -> DocumentWindows:
        """Replace the pieces of other files. They come first in a prompt, so a change drops all windows."""
        if cross_file == self.cross_file:
            return evolve(self, n_cross_file_tokens=n_tokens)
        return evolve(self, cross_file=cross_file, n_cross_file_tokens=n_tokens, windows=(), prefix_starts=())

    def with_window(self, window: Window) -> DocumentWindows:
        """Add a window as the newest, in place of the one that it extends."""
        place = window.anchor_byte, window.suffix.text
        others = (other for other in self.windows if (other.anchor_byte, other.suffix.text) != place)
        start, starts = window.prefix.segments, self.prefix_starts
        if start:
            starts = (start, *(other for other in starts if _start_bytes(other) != _start_bytes(start)))
        return evolve(
            self,
            snapshot=window.snapshot,
            windows=(window, *others)[:MAX_WINDOWS],
            prefix_starts=starts[:MAX_WINDOWS],
        )


class Anchors:
    """The cached windows of each document. Used on the background thread only."""

    def __init__(self) -> None:
        self._by_uri: LruDict[str, DocumentWindows] = LruDict(MAX_DOCUMENTS)

    def copy(self) -> Anchors:
        """Return an independent copy, for a text that is not the editor's."""
        copied = Anchors()
        copied._by_uri.update(self._by_uri)
        return copied

    def window(  # noqa: PLR0913, PLR0917  # a place, two budgets for it, and the two services that fill them
        self,
        snapshot: Snapshot,
        cursor_byte: int,
        full: Budget,
        cold: Budget,
        tokenizer: Tokenizer,
        choose_cross_file: CrossFileChooser = no_cross_file,
    ) -> Window:
        """Return the window for a request: a cached one that fits `full`, extended to the cursor, or else a new one.

        A new one is built within `cold`: what this machine can prefill while the user waits. Pieces of other files are
        chosen once for a document; later they count as prefilled, and not against `cold`.
        """
        newest = self._newest(snapshot.uri)
        if newest is not None and _is_within(newest.budget, full):
            extended = extend_in_later_text(newest, snapshot, cursor_byte, tokenizer)
            if extended is not None:
                return extended
        cached = self._moved_to(snapshot)
        for window in cached.windows:
            extended = extend(window, cursor_byte, tokenizer) if _is_within(window.budget, full) else None
            if extended is not None:
                return extended
        cross_file = cached.cross_file
        if cached.n_cross_file_tokens:
            cold = evolve(cold, max_prompt_tokens=full.max_prompt_tokens)
        elif cold.n_cross_file_tokens:
            cross_file = choose_cross_file(cold.n_cross_file_tokens)
        return new_window(snapshot, cursor_byte, cold, tokenizer, cached.prefix_starts, cached.outline, cross_file)

    def full_window(  # noqa: PLR0913  # as `window`, with one budget and one switch
        self,
        snapshot: Snapshot,
        cursor_byte: int,
        full: Budget,
        tokenizer: Tokenizer,
        choose_cross_file: CrossFileChooser = no_cross_file,
        *,
        renew: bool = False,
    ) -> Window:
        """Return a window of the full budget, cached or new, to prefill while no request waits.

        Pieces of other files are chosen again with `renew`, or if there is more room for them than before. Requests
        use them once the window is passed to `remember`.
        """
        cached = self._moved_to(snapshot)
        cross_file = cached.cross_file
        if renew or full.n_cross_file_tokens > cached.n_cross_file_tokens:
            cross_file = choose_cross_file(full.n_cross_file_tokens)
        for window in cached.windows:
            is_same = (window.budget, window.cross_file) == (full, cross_file)
            extended = extend(window, cursor_byte, tokenizer) if is_same else None
            if extended is not None:
                return extended
        cached = self._keep(evolve(cached, outline=_outline(snapshot)))  # some 10 ms in a long file
        starts = cached.prefix_starts if cross_file == cached.cross_file else ()
        return new_window(snapshot, cursor_byte, full, tokenizer, starts, cached.outline, cross_file)

    def remember(self, window: Window) -> None:
        """Cache a window whose prompt is sent."""
        uri, newest = window.snapshot.uri, self._newest(window.snapshot.uri)
        if newest is not None and _has_same_prompt(newest, window):
            cached = self._by_uri[uri]
            self._keep(evolve(cached, windows=(window, *cached.windows[1:])))
            return
        cached = self._moved_to(window.snapshot)
        n_tokens = window.budget.n_cross_file_tokens
        if window.cross_file != cached.cross_file or n_tokens > cached.n_cross_file_tokens:
            cached = cached.with_cross_file(window.cross_file, n_tokens)
        self._keep(cached.with_window(window))

    def _newest(self, uri: str) -> Window | None:
        cached = self._by_uri.get(uri)
        return cached.windows[0] if cached is not None and cached.windows else None

    def _moved_to(self, snapshot: Snapshot) -> DocumentWindows:
        """Move the cached windows of a document to this text, in two steps: first to the text of the newest window.

        The edits between two jumps of the cursor are in one place, so that one `TextChange` covers them all.
        """
        cached = self._by_uri.get(snapshot.uri)
        if cached is None:
            cached = DocumentWindows.of(snapshot)
        elif cached.windows:
            cached = cached.moved_to(cached.windows[0].snapshot)
        return self._keep(cached.moved_to(snapshot))

    def _keep(self, cached: DocumentWindows) -> DocumentWindows:
        self._by_uri[cached.snapshot.uri] = cached
        return cached


def _outline(snapshot: Snapshot) -> Outline:
    """Return the definitions of a document, in all of its languages."""
    syntaxes = [each.syntax for each in (snapshot, *embedded_documents(snapshot))]
    return Outline.of(scope for syntax in syntaxes if syntax is not None for scope in syntax.definitions())


def _start_bytes(prefix_start: Segments) -> tuple[int, ...]:
    return tuple(segment.start_byte for segment in prefix_start)


def _has_same_prompt(one: Window, other: Window) -> bool:
    """Return whether two windows have one prompt. The ids of a window that only moved are the same objects."""
    is_same_text = one.prefix.ids is other.prefix.ids and one.suffix.ids is other.suffix.ids
    return is_same_text and (one.budget, one.cross_file) == (other.budget, other.cross_file)


def _is_within(given: Budget, full: Budget) -> bool:
    """Return whether a window of the budget `given` is no larger than `full` allows now."""
    return given.suffix_share == full.suffix_share and given.n_tokens <= full.n_tokens
