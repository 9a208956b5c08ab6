"""Hostile files in every language: deep nesting, long lines, open strings, odd bytes, broken source.

A case is `{"files"}`, which are open at once. A file is `{"language", "parts", "cursor", "isCompleted"}`. A part is
`[text, number of times]`; the cursor is a share of the text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.e2e.conftest import ROOT
from tests.fuzz.edits import change_of
from tests.fuzz.peer import Peer
from tests.queries.samples import SAMPLES

LANGUAGES = sorted(tomllib.loads((ROOT / "grammars" / "languages.toml").read_text()))
# Each opens something in some language: brackets, strings, comments, templates, here-documents, lists, blocks.
OPENERS = [
    "(", "[", "{", "<", "<a>", "<!--", "/*", "//", "#", "--", '"', "'", "`", '"""', "'''", '"${', "`${", "#{", "%q(",
    "%w[", "(*", "{-", "{%", "{{", "[[", "[=[", "$(", "${", "<<", "<<A\n", "<<~A\n", 'R"x(', 'r#"', '@"', '$"{',
    'f"{', "> ", "* ", "- ", "1. ", "a:\n", "? ", "- - ", "|", "=> ", "\\", "\\\n", "#if 1\n", "begin ", "do ",
    "if x then ", "if (x) ", "case x of ", "def f\n", "class A {", "fn f() {", "function f() {", "=begin\n",
    "let x = ", "x -> ", "not ", "-", "!", "a.", "a,", "a(", "a[", "@", "&", "::", "?:", "= ", "+ ",
]  # fmt: skip
ODD = [
    "\0", "\ufeff", "\r", "\r\n", "\n", "\f", "\v", "\u2028", "\t", " ", "😀", "\ud800", "\u202e", "e\u0301\u0301",
    "\x1b[31m", "\x7f", "<fim_middle>", "<|endoftext|>", "<file_sep>", "x", "9", "0x", "_", ";", "=====",
    "<<<<<<< HEAD\n",
]  # fmt: skip
CLOSERS = [")", "]", "}", ">", "</a>", "*/", "end\n", "A\n", '"', "'", "`"]
SOURCES = sorted(each.source.replace("█", "") for each in SAMPLES.values())
UNITS = st.one_of(st.sampled_from(OPENERS), st.sampled_from(OPENERS), st.sampled_from(ODD), st.sampled_from(CLOSERS))
MANY = [10, 60, 255, 256, 300, 1025, 2000, 4000]
TIMES = st.one_of(st.integers(1, 3), st.sampled_from(MANY))
MAX_CHARACTERS = 40_000
"""Longer texts are cut. They would only take the grammars more time."""


def broken(source: str, cuts: Sequence[tuple[float, float]]) -> str:
    """Remove pieces of a source."""
    for start, length in cuts:
        at = int(start * len(source))
        source = source[:at] + source[at + int(length * 30) :]
    return source


SHARES = st.floats(0, 1, width=16)
PARTS = st.one_of(
    st.tuples(UNITS, TIMES),
    st.tuples(UNITS, TIMES),
    st.tuples(st.tuples(UNITS, UNITS).map("".join), TIMES),
    st.tuples(st.builds(broken, st.sampled_from(SOURCES), st.lists(st.tuples(SHARES, SHARES), max_size=3)), st.just(1)),
)


def cases(n_parts: int, languages: list[str] = LANGUAGES) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for one or two files of at most so many parts."""
    file = st.fixed_dictionaries(
        {
            "language": st.sampled_from(languages),
            "parts": st.lists(PARTS.map(list), min_size=1, max_size=n_parts),
            "cursor": st.one_of(st.just(1.0), SHARES),
            "isCompleted": st.booleans(),
        }
    )
    return st.fixed_dictionaries({"files": st.lists(file, min_size=1, max_size=2)})


def text_of(file: dict[str, Any]) -> str:
    """Return the text of a file."""
    return "".join(unit * n for unit, n in file["parts"])[:MAX_CHARACTERS]


def check(peer: Peer, case: dict[str, Any]) -> int:
    """Open the files, send requests, type a character in each, send again, and check that all requests are answered.

    Return the number of files. Raises `FaultError`.
    """
    uris = [f"untitled:{peer.new_id()}" for _ in case["files"]]
    for uri, file in zip(uris, case["files"], strict=True):
        _try(peer, uri, file)
    peer.settle()
    for uri in uris:
        peer.close_document(uri)
    peer.settle()
    return len(uris)


def _try(peer: Peer, uri: str, file: dict[str, Any]) -> None:
    """Send the requests for one file. A completion costs more than parse, window and tokens together."""
    text = text_of(file)
    before = re.split("\r\n|\r|\n", text[: int(file["cursor"] * len(text))])
    line, character = len(before) - 1, len(before[-1].encode("utf-16-le", "surrogatepass")) // 2
    peer.open(uri, text, file["language"])
    if file["isCompleted"]:
        peer.complete(uri, line, character)
    peer.request(
        "starcoder/explain", {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
    )
    changes = [change_of(line, character, line, character, "x")]
    identifier = {"uri": uri, "version": 2}
    peer.notify("textDocument/didChange", {"textDocument": identifier, "contentChanges": changes})
    if file["isCompleted"]:
        peer.complete(uri, line, character + 1)
    else:
        here = {"line": line, "character": character + 1}
        peer.request("starcoder/explain", {"textDocument": {"uri": uri}, "position": here})
