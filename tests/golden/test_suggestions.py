"""Rules about suggestions. `█` is the cursor; the text behind `<<<` is what the model wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.suggestions.postprocess import FILTERS, postprocess
from starcoder_lsp.suggestions.site import Site, describe_site
from starcoder_lsp.suggestions.stopping import stop_rule
from starcoder_lsp.suggestions.suggestion import Suggestion


def site_at(marked: str, language: str = "python", multiline: str = "auto") -> Site:
    before, cursor, after = marked.partition("█")
    assert cursor, "the case has no cursor"
    snapshot = Documents().open("file:///case", language, 1, before + after)
    return describe_site(snapshot, len(before.encode()), multiline)


def check(marked: str, written: str, shown: str, language: str = "python", multiline: str = "auto") -> None:
    suggestion, _ = postprocess(Suggestion(written.encode()), site_at(marked, language, multiline))
    assert suggestion.text.decode() == shown


ONE_LINE = [
    ("x = foo(█)", "bar)", "bar"),
    ("x = foo(█)", "bar", "bar"),
    ("x = foo(█)", "bar(1)", "bar(1)"),
    ("x = foo(bar(█))", "1))", "1"),
    ("x = foo(bar(█))", "1)", "1"),
    ("x = [foo(█)]", "1)]", "1"),
    ("x = a[█]", "0]", "0"),
    ("x = a[█]", "b[0]", "b[0]"),
    ("x = █", "1\ny = 2", "1"),
    ("x = █ if y else None", "1 if y else None", "1"),
    ("x = █", "   ", ""),
    ("x = █", "\n\ny = 2", ""),
    ("def f(█):", "self):\n    pass", "self"),
    ("for i in range(█):", "10):", "10"),
    ("foo(a, █)", "b=c)", "b=c"),
    ("assert f(█) == 1", "2) == 1", "2"),
    ("x = a[█]", "i][j]", "i][j"),
    ("x = a[█:]", "1:", "1"),
    ("foo(█, b)", "a,", "a"),
    ("foo(█, b)", "a, b)", "a"),
    ("x = b█c", "d", "d"),
    ("print(f'{█}')", "x}')", "x"),
    ("@█\ndef f(): ...\n", "property\ndef f(): ...", "property"),
    ("print('█')", "hello')", "hello"),
]


@pytest.mark.parametrize(("marked", "written", "shown"), ONE_LINE)
def test_one_line(marked: str, written: str, shown: str) -> None:
    check(marked, written, shown)


OTHER_LANGUAGES = {
    "rust": [
        ("let v = foo(█);", "x)", "x"),
        ("let v = foo(█);", "x);", "x"),
        ("let v = █", "vec![1, 2];\nlet w = 1;", "vec![1, 2];"),
        ("let v = █;", "vec![1, 2];", "vec![1, 2]"),
        ("match x {\n    █\n}\n", "Some(y) => y,\n    None => 0,\n}", "Some(y) => y,\n    None => 0,"),
        (
            "fn f() {\n    █\n}\n",
            "if a {\n        b();\n    } else {\n        c();\n    }\n    d();\n}\n",
            "if a {\n        b();\n    } else {\n        c();\n    }\n    d();",
        ),
        ("fn f() {\n    if a {█\n    }\n}\n", "\n        b();\n    } else {\n        c();\n    }\n}", "\n        b();"),
        ("fn f() {\n    if a {█", "\n        b();\n    } else {\n        c();", "\n        b();\n    }"),
        ("impl A {\n    fn f() {█\n}\n", "\n        a();\n    }\n\n    fn g() {", "\n        a();\n    }"),
        ("impl A {\n    fn f() {█\n    }\n}\n", "\n        a();\n    }\n\n    fn g() {", "\n        a();"),
    ],
    "go": [
        ("fmt.Println(█)", '"a", b)', '"a", b'),
        ("x := map[string]int{█}", '"a": 1}', '"a": 1'),
        ("\tif err != nil {█\n\t}\n", "\n\t\treturn err\n\t}\n\treturn nil\n}", "\n\t\treturn err"),
        ("switch x {\n█\n}\n", "case 1:\n\ta()\ncase 2:\n\tb()\n}", "case 1:\n\ta()\ncase 2:\n\tb()"),
        ("func f() {\n\t█\n", "g()\n}\n\nfunc h() {", "g()\n}"),
    ],
    "javascript": [
        ("if (█) {", "a === b) {", "a === b"),
        ("foo(█, b)", "a, b)", "a"),
        ("const {a, █} = x;", "b} = x;", "b"),
        ("const f = (a) => {█", "\n  return a;\n};\n\nconst g", "\n  return a;\n};"),
        ("f('/', (a) => {\n  █\n});\n", "g(a);\n});\n\nh(1)", "g(a);"),
        ("const o = {\n  █\n};\n", "b: 2,\n  c: [\n    3,\n  ],\n};", "b: 2,\n  c: [\n    3,\n  ],"),
        ("if (x) {\n  y()\n}█\n", " else {\n  z()\n}\n", " else {\n  z()\n}"),
    ],
    "java": [
        ("        return █;", "a + b;", "a + b"),
        ("for (int i = 0; █) {", "i < n; i++) {", "i < n; i++"),
        ("class A {\n    █\n}\n", "int x;\n\n    int f() {\n        return x;\n    }\n}", "int x;"),
        ("class A {\n    void f() {█\n    }\n}", "\n        g();\n    }\n\n    void h() {", "\n        g();"),
    ],
    "c": [
        ('printf("%d", █);', "a);", "a"),
        ("for (i = 0; i < n; █) {", "i++) {", "i++"),
        ("#define █\n", "A 1\n#define B 2", "A 1"),
        ("int f(int a)\n{█\n", "\n\treturn a;\n}\n\nint g", "\n\treturn a;\n}"),
        ("switch (x) {\ncase 1:\n\t█\n}\n", "a();\n\tbreak;\ncase 2:\n\tb();\n}", "a();\n\tbreak;"),
    ],
    "python": [
        ("x = [█\n", "\n    1,\n    2,\n]\ny = 1", "\n    1,\n    2,\n]"),
        ("x = foo(█\n", "\n    1,\n    2,\n)\ny = 1", "\n    1,\n    2,\n)"),
        ("x = foo(█\n", "a, b)\ny = 1", "a, b)"),
        ("x = foo(█\n)\n", "\n    1,\n)\ny = 1", "\n    1,"),
        ("if a:\n    pass\n█", "else:\n    x()\n", "else:\n    x()"),
        ("while True:█", "\n    a()\n\n    b()\nc()", "\n    a()\n\n    b()"),
        ("█", "import os\nimport sys\n\n\ndef f():", "import os\nimport sys"),
        ("import os\n█\nimport re\n", "import sys\nimport re\n", "import sys"),
    ],
}


@pytest.mark.parametrize(
    ("language", "marked", "written", "shown"),
    [(language, *case) for language, cases in OTHER_LANGUAGES.items() for case in cases],
)
def test_blocks_and_lines(language: str, marked: str, written: str, shown: str) -> None:
    check(marked, written, shown, language)


@pytest.mark.parametrize(
    ("language", "marked", "written", "shown"),
    [(language, *case) for language, cases in OTHER_LANGUAGES.items() for case in cases],
)
def test_nothing_that_is_shown_is_stopped_away(language: str, marked: str, written: str, shown: str) -> None:
    """Asked after each letter, the finest steps that tokens can come in."""
    site = site_at(marked, language)
    stop = stop_rule(site)
    data = written.encode()
    stopped_at = next((n for n in range(1, len(data) + 1) if stop(data[:n])), len(data))
    assert postprocess(Suggestion(data[:stopped_at]), site)[0].text.decode() == shown


def test_a_line_that_begins_like_the_one_below_is_no_repetition() -> None:
    marked = "def f():\n    █\n    return total\n"
    check(
        marked,
        "if not x:\n        return 0\n    return total_of(x)\n",
        "if not x:\n        return 0\n    return total_of(x)",
    )
    assert stop_rule(site_at(marked))(b"x = 1\n    return total") is None
    assert stop_rule(site_at(marked))(b"x = 1\n    return total\n") == "suffix_reached"


def test_an_indented_block_ends_with_its_scope() -> None:
    check(
        "def f(x):\n    █\n\n\ndef g():\n    pass\n",
        "y = x + 1\n    return y\n\n\ndef h():\n    pass",
        "y = x + 1\n    return y",
    )


def test_the_body_of_a_block_that_the_line_opens() -> None:
    check("for x in y:█\n", "\n    print(x)\n    z = 1\nprint(2)\n", "\n    print(x)\n    z = 1")


def test_a_braced_block_takes_its_closing_brace_along() -> None:
    check("fn f() {█\n", "\n    g();\n}\n\nfn h() {}", "\n    g();\n}", language="rust")


def test_a_brace_that_is_there_already_is_not_written_twice() -> None:
    check("fn f() {█\n}\n", "\n    g();\n}\n\nfn h() {}", "\n    g();", language="rust")


def test_a_new_paragraph_at_the_same_depth_is_left_for_later() -> None:
    check("def f():\n    █\n", "a = 1\n    b = 2\n\n    c = 3\n", "a = 1\n    b = 2")


def test_a_blank_line_inside_what_was_opened_stays() -> None:
    check(
        "def f():\n    █\n", "if a:\n        b()\n\n        c()\n    d()", "if a:\n        b()\n\n        c()\n    d()"
    )


def test_the_line_below_is_not_written_again() -> None:
    check("def f():\n    █\n    return total\n", "total = 1\n    return total\n", "total = 1")


def test_a_short_line_below_may_stand_twice() -> None:
    check("if (a) {\n  █\n}\n", "if (b) {\n    c()\n  }", "if (b) {\n    c()\n  }", language="javascript")


def test_a_loop_of_equal_lines_is_cut_to_one() -> None:
    check("def f():\n    █\n", "a()\n    b()\n    b()\n    b()\n    b()", "a()\n    b()")


@pytest.mark.parametrize("multiline", ["never", "always"])
def test_multiline_overrides(multiline: str) -> None:
    shown = {"never": "a = 1", "always": "a = 1\n    b = 2"}[multiline]
    check("def f():\n    █\n", "a = 1\n    b = 2", shown, multiline=multiline)


def test_tabs_count_as_columns() -> None:
    check("func f() {\n\t█\n", "a()\n\tb()\n}\n\nfunc g() {", "a()\n\tb()\n}", language="go")


def test_an_unfinished_character_is_cut() -> None:
    suggestion, effects = postprocess(Suggestion("x = é".encode()[:-1]), site_at("█"))
    assert suggestion.text == b"x"
    assert effects[1].effect == "cut 1 bytes"


def test_every_filter_reports_what_it_did() -> None:
    _, effects = postprocess(Suggestion(b"bar)"), site_at("x = foo(baz(█))"))
    assert [e.name for e in effects] == [f.__name__ for f in FILTERS]
    assert {e.name: e.effect for e in effects}["without_extra_closers"] == "cut 1 bytes"


CODE = st.text(st.sampled_from("ab ()[]{}:\n\t\"'=é█").filter(lambda c: c != "█"), max_size=60)


@given(before=CODE, after=CODE, written=CODE)
def test_filters_shorten_or_drop_and_never_add(before: str, after: str, written: str) -> None:
    site = site_at(before + "█" + after)
    suggestion = Suggestion(written.encode())
    for apply in FILTERS:
        shorter = apply(suggestion, site)
        assert suggestion.text.startswith(shorter.text)
        suggestion = shorter


@given(before=CODE, after=CODE, written=CODE)
def test_what_is_shown_stays_shown_when_it_is_filtered_again(before: str, after: str, written: str) -> None:
    site = site_at(before + "█" + after)
    once, _ = postprocess(Suggestion(written.encode()), site)
    assert once.text.startswith(postprocess(Suggestion(once.text), site)[0].text)


SOME_LINES = [
    *("", "  ", "}", "};", "})", "] ", "    }", "    ],", ") {", "} else {", '"""', "foo(", "case 1:"),
    *(
        "return a",
        "return ab",
        "    return a",
        "    return ab",
        "    a()",
        "    a();",
        "        b",
        "    if x:",
        "if x {",
    ),
]
LINES = st.lists(st.sampled_from(SOME_LINES), max_size=8).map("\n".join)


@given(
    before=CODE | LINES,
    after=CODE | LINES,
    written=CODE | LINES,
    language=st.sampled_from(["python", "rust", "ruby"]),
    multiline=st.sampled_from(["auto", "always"]),
)
def test_generation_stops_no_earlier_than_what_is_shown(
    before: str, after: str, written: str, language: str, multiline: str
) -> None:
    """Text up to the first stop gives the same suggestion as all of it: nothing that counts is decoded or lost."""
    site = site_at(before + "█" + after, language, multiline)
    stop = stop_rule(site)
    data = written.encode()
    shown, _ = postprocess(Suggestion(data), site)
    stopped_at = next((n for n in range(1, len(data) + 1) if stop(data[:n])), len(data))
    assert postprocess(Suggestion(data[:stopped_at]), site)[0] == shown
