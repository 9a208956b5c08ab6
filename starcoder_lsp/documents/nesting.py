"""Check a text before its grammar parses it: some grammars crash if something is nested too deeply.

Some external scanners write their state into a buffer of 1,024 bytes without checking its size. `python -m
tests.depth.try_all` finds them and the text that makes the state grow; the field `too_deep` of `languages.toml` matches
it. Other texts may still crash a grammar: then the session ends, and the front starts it again.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starcoder_lsp.documents.languages import Language
    from starcoder_lsp.documents.text import Text

MAX_OPEN: Final = 500
"""The most brackets without a partner. Parsing 4,000 `%q(` as Rust or Java takes 10 s and ignores the deadline."""


def is_too_deep(language: Language, text: Text) -> bool:
    """Return whether a text is nested so deeply that the language's grammar may crash."""
    if max(text.n_unclosed) > MAX_OPEN:
        return True
    return language.too_deep is not None and _pattern(language.too_deep).search(text.data) is not None


@cache
def _pattern(source: str) -> re.Pattern[bytes]:
    return re.compile(source.encode(), re.MULTILINE)
