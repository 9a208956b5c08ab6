"""The definitions of a file as of an earlier text, and where they are in a later one.

A file of 10,000 lines has 2,000 definitions, and a window needs a few of them. So an edit moves none: the changes are
kept, and a definition moves when it is looked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from attrs import evolve, frozen

from starcoder_lsp.context.text_change import TextChange
from starcoder_lsp.documents.scopes import Scope, short_name

MAX_CHANGES = 16
"""Changes that are kept; with more, every definition moves once. Not measured."""


@frozen(eq=False)
class Outline:
    """Definitions in the order of the file. One whose header was edited is missing."""

    _definitions: Sequence[Scope]
    _numbers_by_name: Mapping[bytes, Sequence[int]]
    _changes: tuple[TextChange, ...] = ()

    @classmethod
    def of(cls, definitions: Iterable[Scope]) -> Outline:
        """Return the outline of a text with these definitions."""
        in_order = sorted(definitions, key=lambda scope: scope.start_byte)
        numbers: dict[bytes, list[int]] = {}
        for number, scope in enumerate(in_order):
            numbers.setdefault(short_name(scope.name).encode(), []).append(number)
        return cls(in_order, numbers)

    def moved(self, change: TextChange) -> Outline:
        """Return the outline of the later text."""
        if len(self._changes) == MAX_CHANGES:
            return Outline.of(self.below(0)).moved(change)
        return evolve(self, changes=(*self._changes, change))

    def named(self, names: Collection[bytes], before_byte: int) -> Iterator[Scope]:
        """Yield the definitions with these short names that begin before a place, the last first."""
        numbers = (number for name in names for number in self._numbers_by_name.get(name, ()))
        found = (self._now(number) for number in sorted(numbers, reverse=True))
        return (scope for scope in found if scope is not None and scope.start_byte < before_byte)

    def below(self, from_byte: int) -> Iterator[Scope]:
        """Yield the definitions that begin at a place or below it, the first first."""
        for number in range(self._first_from(from_byte), len(self._definitions)):
            scope = self._now(number)
            if scope is not None and scope.start_byte >= from_byte:
                yield scope

    def above(self, before_byte: int, from_byte: int) -> Iterator[Scope]:
        """Yield the definitions that begin before one place and not before another, the last first."""
        for number in reversed(range(self._first_from(from_byte), self._first_from(before_byte))):
            scope = self._now(number)
            if scope is not None and from_byte <= scope.start_byte < before_byte:
                yield scope

    def _first_from(self, byte: int) -> int:
        return bisect_left(range(len(self._definitions)), byte, key=self._start_now)

    def _now(self, number: int) -> Scope | None:
        scope: Scope | None = self._definitions[number]
        for change in self._changes:
            scope = None if scope is None else change.scope(scope)
        return scope

    def _start_now(self, number: int) -> int:
        """Return where a definition begins, or would begin: these places have the order of the definitions."""
        start_byte = self._definitions[number].start_byte
        for change in self._changes:
            start_byte = change.nearest_place(start_byte)
        return start_byte


NO_OUTLINE = Outline.of(())
