"""Match paths against rules as those of a `.gitignore`, in time linear in the length of path and pattern.

A clone has patterns of its own, and `*a*a*a*a*b` takes Python's `re` for ever. So each pattern is translated as git
reads it (`dir.c` and `wildmatch.c`), and RE2 matches it. RE2's sets of patterns would be quicker, but silently match
nothing once they run out of memory.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Final

from attrs import frozen

from starcoder_lsp.documents.linear_patterns import LinearPattern, PatternError, compile_bytes

_SIGN: Final = re.compile(rb"\\.|.", re.DOTALL)
"""A character of a pattern, with the backslash before it if there is one."""
_CLASS: Final = re.compile(rb"\[:([^]]*):\]")
_CLASSES: Final[dict[bytes, Callable[[bytes], bool]]] = {
    b"alnum": bytes.isalnum,
    b"alpha": bytes.isalpha,
    b"blank": b" \t".__contains__,
    b"cntrl": lambda char: char < b" " or char == b"\x7f",
    b"digit": bytes.isdigit,
    b"graph": lambda char: b"!" <= char <= b"~",
    b"lower": bytes.islower,
    b"print": lambda char: b" " <= char <= b"~",
    b"punct": string.punctuation.encode().__contains__,
    b"space": b" \t\r\n".__contains__,
    b"upper": bytes.isupper,
    b"xdigit": string.hexdigits.encode().__contains__,
}
_MAX_CLASS_BYTES: Final = 64
"""The longest name of a class that is looked for; git knows none of over six letters."""


@frozen
class _Rule:
    source: bytes
    pattern: LinearPattern[bytes]
    is_ignoring: bool
    is_for_folders: bool


@frozen(eq=False)
class IgnoreRules:
    """Rules in the order of the file. `any_of` is one pattern for all of them; `None` if that is too large."""

    rules: tuple[_Rule, ...]
    any_of: LinearPattern[bytes] | None

    @classmethod
    def parse(cls, *files: bytes, ignores_case: bool = False) -> IgnoreRules:
        """Read the bytes of files such as a `.gitignore`, the weakest first. Invalid lines are skipped, as in git."""
        lines = (line for data in files for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
        rules = tuple(_rules(lines, b"(?is:%s)" if ignores_case else b"(?s:%s)"))
        return cls(rules, _any_of(rule.source for rule in rules))

    def verdict(self, path: str) -> bool | None:
        """Return whether a path below the rules' folder is ignored; `None` if no rule matches it.

        That of a folder ends with "/". Rules for the folders above a path count only for these. The last rule decides.
        """
        name = _encoded(path)
        is_folder, name = name.endswith(b"/"), name.removesuffix(b"/")
        if self.any_of is not None and self.any_of.fullmatch(name) is None:
            return None
        for rule in reversed(self.rules):
            if (is_folder or not rule.is_for_folders) and rule.pattern.fullmatch(name) is not None:
                return rule.is_ignoring
        return None


def _rules(lines: Iterable[bytes], form: bytes) -> Iterator[_Rule]:
    for line in lines:
        signs = _SIGN.findall(line.removesuffix(b"\r").partition(b"\0")[0])
        while signs[-1:] == [b" "]:
            signs.pop()
        pattern = b"".join(signs)
        if pattern.startswith(b"#"):
            continue
        is_ignoring, pattern = not pattern.startswith(b"!"), pattern.removeprefix(b"!")
        is_for_folders, pattern = pattern.endswith(b"/"), pattern.removesuffix(b"/")
        try:
            source = form % _source(pattern)
            yield _Rule(source, compile_bytes(source), is_ignoring, is_for_folders)
        except (PatternError, IndexError):  # IndexError: a set without an end
            continue


def _source(pattern: bytes) -> bytes:
    """Return the regular expression of a pattern. Raises `PatternError` or `IndexError` if it matches nothing."""
    is_path = b"/" in pattern
    signs = _SIGN.findall(pattern.removeprefix(b"/"))
    n_literal = next((at for at, sign in enumerate(signs) if sign[:1] in b"*?[\\"), len(signs))
    source, at = [b"" if is_path else b"(?:.*/)?"], 0
    while at < len(signs):
        sign = signs[at]
        if sign == b"*":
            end = next((end for end in range(at, len(signs)) if signs[end] != b"*"), len(signs))
            # git compares the characters before the first special one apart, so that `foo**/a` has the meaning of
            # `foo` and then `**/a`.
            begins_part = is_path and (at == n_literal or signs[at - 1].endswith(b"/"))
            meaning, at = _stars(signs, end, is_deep=begins_part and end - at > 1)
        elif sign == b"[":
            meaning, at = _set(signs, at + 1)
        elif sign == b"\\":
            message = "nothing stands behind a backslash"
            raise PatternError(message)
        else:
            meaning, at = b"[^/]" if sign == b"?" else re.escape(sign[-1:]), at + 1
        source.append(meaning)
    return b"".join(source)


def _stars(signs: Sequence[bytes], end: int, *, is_deep: bool) -> tuple[bytes, int]:
    """Return the regular expression of the stars before the index `end`, and the index to go on from.

    With `is_deep` they are several at the beginning of a part; they cross parts if they are a whole one.
    """
    behind = signs[end] if end < len(signs) else b""
    if is_deep and behind == b"/":
        return b"(?:.*/)?", end + 1
    return b".*" if is_deep and behind[-1:] in b"/" else b"[^/]*", end


def _set(signs: Sequence[bytes], at: int) -> tuple[bytes, int]:
    """Return the regular expression of the set that begins before an index, and the index behind it.

    Raises `IndexError` if it has no end, and `PatternError` if an unknown class is in it.
    """
    is_negated = signs[at] in (b"!", b"^")
    first = at = at + is_negated
    members, last = set[int](), -1
    while at == first or signs[at] != b"]":
        named = _CLASS.match(b"".join(signs[at : at + _MAX_CLASS_BYTES])) if signs[at] == b"[" else None
        if named is not None:
            members |= _class(named[1])
            at, last = at + len(named[0]), -1
        elif signs[at] == b"-" and last >= 0 and signs[at + 1] != b"]":
            members |= set(range(last, signs[at + 1][-1] + 1))
            at, last = at + 2, -1
        else:
            last = signs[at][-1]
            members.add(last)
            at += 1
    listed = sorted(members | {ord("/")} if is_negated else members - {ord("/")})
    spelled = b"".join(b"\\x%02x" % byte for byte in listed) or rb"\x00-\xff"
    return b"[%s%s]" % (b"^" if is_negated or not listed else b"", spelled), at + 1


@cache
def _class(name: bytes) -> frozenset[int]:
    if name not in _CLASSES:
        message = "no such class of characters"
        raise PatternError(message)
    return frozenset(byte for byte in range(256) if _CLASSES[name](bytes([byte])))


def _any_of(sources: Iterable[bytes]) -> LinearPattern[bytes] | None:
    """Return one pattern for all rules: nearly every path matches none of them, and one match shows that."""
    try:
        return compile_bytes(b"|".join(dict.fromkeys(sources)))
    except PatternError:
        return None


def _encoded(path: str) -> bytes:
    """Return a path's bytes. Python escapes those that are not UTF-8 as lone surrogates; an editor may send others."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return path.encode("utf-8", "replace")
