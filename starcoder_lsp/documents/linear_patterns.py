"""Match patterns of workspaces and settings by RE2, in time linear in the length of the text."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol, TypeVar

MAX_PATTERN_BYTES = 64 << 20
"""Memory for one compiled pattern and its states: the rules of a `.gitignore` of 64 KiB in one take up to 20 MB."""

Text_contra = TypeVar("Text_contra", str, bytes, contravariant=True)


class PatternError(ValueError):
    """RE2 rejects a pattern: it is no regular expression, or too large."""


class LinearPattern(Protocol[Text_contra]):
    """The methods of a compiled pattern that this program uses."""

    def search(self, text: Text_contra) -> Any:
        """Return the first match or `None`."""

    def fullmatch(self, text: Text_contra) -> Any:
        """Return the match of the whole text or `None`."""


def compile_bytes(source: bytes) -> LinearPattern[bytes]:
    """Compile a pattern over bytes, as git has them. Raises `PatternError`."""
    compiled: LinearPattern[bytes] = _compiled(source, "LATIN1")
    return compiled


def compile_text(source: str) -> LinearPattern[str]:
    """Compile a pattern over text, which may have no lone surrogates. Raises `PatternError`."""
    compiled: LinearPattern[str] = _compiled(source, "UTF8")
    return compiled


def _compiled(source: Any, encoding: str) -> Any:
    import re2  # 30 ms that no start-up should pay

    try:
        return re2.compile(source, _options(encoding))
    except re2.error as error:
        raise PatternError from error


@cache
def _options(encoding: str) -> Any:
    import re2

    options = re2.Options()
    options.encoding = getattr(re2.Options.Encoding, encoding)
    options.log_errors = False
    options.max_mem = MAX_PATTERN_BYTES
    return options
