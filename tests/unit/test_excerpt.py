"""Excerpts of long scopes: a suggestion tried in one gets the verdict that it gets in the document."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from starcoder_lsp.suggestions.excerpt import MIN_LONG_BYTES, excerpt
from starcoder_lsp.suggestions.postprocess import postprocess
from starcoder_lsp.suggestions.suggestion import Suggestion
from starcoder_lsp.suggestions.trial import N_LONG_BYTES, TrialText, Verdict
from tests.golden.test_suggestions import site_at

N_MEMBERS = 400
CLASSES = {
    "python": ("class A(B):\n", "    def f{n}(self, a):\n        x = a + {n}\n        return {at}\n\n", ""),
    "javascript": ("class A extends B {\n", "  f{n}(a) {\n    const x = a + {n};\n    return {at};\n  }\n\n", "}\n"),
    "java": (
        "class A extends B {\n",
        "    int f{n}(int a) {\n        int x = a + {n};\n        return {at};\n    }\n\n",
        "}\n",
    ),
    "cpp": ("class A : B {\n", "  int f{n}(int a) {\n    int x = a + {n};\n    return {at};\n  }\n\n", "};\n"),
    "rust": (
        "impl A {\n",
        "    fn f{n}(a: i32) -> i32 {\n        let x = a + {n};\n        return {at};\n    }\n\n",
        "}\n",
    ),
    "ruby": ("class A < B\n", "  def f{n}(a)\n    x = a + {n}\n    return {at}\n  end\n\n", "end\n"),
}
MEMBERS = {
    "python": "    x{n} = f({at})\n",
    "javascript": "  x{n} = f({at});\n",
    "java": "    int x{n} = f({at});\n",
    "cpp": "  int x{n} = f({at});\n",
}
"""Members that are no scopes, so that the cursor's innermost scope is the class."""
PARTS = (
    b"x",
    b"a + b",
    b"f(x",
    b"f(x)",
    b"a b c",
    b"(a, [b])",
    b")",
    b"'",
    b'"it"',
    b"{1: 2}",
    b"[1, 2",
    b"a\n\n",
    b"x +",
)


def used_of(verdict: Verdict) -> tuple[bool, bool]:
    """Return a verdict without the place of the error, which a parser's recovery may choose in several ways."""
    return verdict.fits, verdict.is_passable


def long_class(language: str, member: str, at: int) -> str:
    """Return a class of many members; the cursor is in one of them."""
    head, _, tail = CLASSES[language]
    members = (member.replace("{n}", str(n)).replace("{at}", "█" if n == at else "x") for n in range(N_MEMBERS))
    return head + "".join(members) + tail


@pytest.mark.parametrize("at", [0, 1, N_MEMBERS // 2, N_MEMBERS - 1])
@pytest.mark.parametrize("language", MEMBERS)
def test_a_verdict_in_an_excerpt_equals_that_in_the_document(language: str, at: int) -> None:
    site = site_at(long_class(language, MEMBERS[language], at), language)
    found = excerpt(site, site.scopes[-1])
    assert found is not None, "the class is longer than an excerpt"
    assert len(found.data) < N_LONG_BYTES < len(site.snapshot.text.data)
    line = site.line_before + site.line_after
    start = found.cursor_byte - len(site.line_before)
    assert found.data[start : start + len(line) + 1] == line + b"\n"
    short, whole = TrialText.of(site), TrialText.whole(site)
    assert short.snapshot.text.data == found.data
    for part in map(Suggestion, PARTS):
        assert used_of(short.judge(part)) == used_of(whole.judge(part)), part


@pytest.mark.parametrize("at", [0, N_MEMBERS // 2, N_MEMBERS - 1])
@pytest.mark.parametrize("language", CLASSES)
def test_a_verdict_in_the_tried_text_equals_that_in_the_document(language: str, at: int) -> None:
    site = site_at(long_class(language, CLASSES[language][1], at), language)
    short, whole = TrialText.of(site), TrialText.whole(site)
    assert len(short.snapshot.text.data) < MIN_LONG_BYTES
    for part in map(Suggestion, PARTS):
        assert used_of(short.judge(part)) == used_of(whole.judge(part)), part


@pytest.mark.parametrize(
    "text", ["", "x = █\n", "class A:\n    x = █\n", "x = [\n" + "    '(',\n" * 1000 + "    █\n]\n"]
)
def test_a_short_or_unknown_scope_has_no_excerpt(text: str) -> None:
    site = site_at(text or "█", "python")
    assert [excerpt(site, scope) for scope in (*site.scopes, None)] == [None] * (len(site.scopes) + 1)


def test_a_suggestion_in_a_long_file_is_the_same_whatever_its_line_ends() -> None:
    lines = Path(configparser.__file__).read_text().splitlines(keepends=True)
    for number in range(0, len(lines), 35):
        code = lines[number].rstrip("\n") + "  # why" * (number % 2)
        n_kept = len(code) // 2
        marked = "".join((*lines[:number], code[:n_kept], "█\n", *lines[number + 1 :]))
        sites = (site_at(marked.replace("\n", line_end)) for line_end in ("\n", "\r\n"))
        one, other = (postprocess(Suggestion(code[n_kept:].encode()), site)[0] for site in sites)
        assert one == other, f"line {number}"
