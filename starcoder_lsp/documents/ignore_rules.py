"""Match paths against the rules of one `.gitignore`, in time linear in the length of path and pattern.

A clone has patterns of its own, and `*a*a*a*a*b` takes Python's `re` for ever. So `pathspec` translates each pattern,
and RE2 matches it. RE2's sets of patterns would be quicker, but silently match nothing once they run out of memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from starcoder_lsp.documents.linear_patterns import LinearPattern, PatternError, compile_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

_IN_FOLDER: Final = "ps_d"
"""The group of a translated pattern that matches if the pattern names a folder above the file."""


@frozen
class _Rule:
    pattern: LinearPattern[bytes]
    is_ignoring: bool

    def matches(self, path: bytes) -> tuple[bool, bool]:
        """Return whether the rule matches a path, and whether it matches by a folder above it."""
        found: Any = self.pattern.search(path)
        return found is not None, found is not None and bool(found.groupdict().get(_IN_FOLDER))


@frozen(eq=False)
class IgnoreRules:
    """Rules in the order of the file. `any_of` is one pattern for all of them; `None` if that is too large."""

    rules: tuple[_Rule, ...]
    any_of: LinearPattern[bytes] | None

    @classmethod
    def parse(cls, data: bytes) -> IgnoreRules:
        """Read the bytes of a `.gitignore`. An invalid line is skipped, as in git."""
        from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # 20 ms that no start-up should pay

        sources: list[tuple[bytes, bool]] = []
        for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            try:
                source, is_ignoring = GitIgnoreSpecPattern.pattern_to_regex(line.removesuffix(b"\r"))
            except ValueError:
                continue
            if source is not None and is_ignoring is not None:
                sources.append((source, is_ignoring))
        return cls(tuple(_rules(sources)), _any_of(source for source, _ in sources))

    def verdict(self, path: str) -> bool | None:
        """Return whether a path below the rules' folder is ignored; `None` if no rule matches it.

        As in git, the last rule that matches the file itself decides, before those that match a folder above it.
        """
        name = path.encode("utf-8", "surrogateescape" if _is_escaped(path) else "replace")
        if self.any_of is not None and self.any_of.search(name) is None:
            return None
        verdict, by_file = None, False
        for rule in self.rules:
            is_match, is_in_folder = rule.matches(name)
            if is_match and ((rule.is_ignoring and is_in_folder) or not is_in_folder or not by_file):
                verdict, by_file = rule.is_ignoring, not is_in_folder
        return verdict


def _rules(sources: Iterable[tuple[bytes, bool]]) -> Iterable[_Rule]:
    for source, is_ignoring in sources:
        try:
            yield _Rule(compile_bytes(source), is_ignoring)
        except PatternError:  # a range such as [z-a], which git discards too
            continue


def _any_of(sources: Iterable[bytes]) -> LinearPattern[bytes] | None:
    """Return one pattern for all rules: nearly every path matches none of them, and one match shows that."""
    try:
        return compile_bytes(
            b"|".join(b"(?:%s)" % source.replace(b"(?P<ps_d>/)", b"/") for source in dict.fromkeys(sources))
        )
    except PatternError:
        return None


def _is_escaped(path: str) -> bool:
    """Return whether a path has bytes that are not UTF-8, which Python escapes as lone surrogates."""
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
