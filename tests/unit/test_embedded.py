"""The language at the cursor in pages of several languages, and the document as a text of that language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.documents import embedded
from starcoder_lsp.documents.documents import Documents, Snapshot, fresh, language_of
from starcoder_lsp.documents.embedded import MAX_BYTES, embedded_at, embedded_documents
from starcoder_lsp.documents.languages import all_languages

AT = [
    ("vue", '<script lang="ts">\n█\n</script>\n', "typescript"),
    ("vue", '<script setup lang="ts" generic="T extends Map<string, U>">\n█\n</script>\n', "typescript"),
    ("vue", "<script>\n█\n</script>\n", "javascript"),
    ("vue", "<script>█", "javascript"),
    ("vue", '<style scoped lang="scss">\n█\n</style>\n', "scss"),
    ("vue", "<style>█</style>\n", "css"),
    ("vue", "<template>\n<p>{{ █ }}</p>\n</template>\n", "typescript"),
    ("vue", "<template>\n<p>{{ a }}█</p>\n</template>\n", "vue"),
    ("vue", '<template>\n<p @click="f(█)" class="a"></p>\n</template>\n', "typescript"),
    ("vue", '<template>\n<p @click="f()" class="█"></p>\n</template>\n', "vue"),
    ("vue", "<!-- <script>█ -->\n", "vue"),
    ("vue", "<script>\n</script>\n█\n", "vue"),
    ("svelte", '<script lang="ts">\n█\n</script>\n', "typescript"),
    ("svelte", "<script>\n</script>\n{#if █}\n", "svelte"),
    ("astro", "---\n█\n---\n<p></p>\n", "typescript"),
    ("astro", "---\n---\n<p>█</p>\n", "astro"),
    ("astro", "---\n---\n<style>\n█\n</style>\n", "css"),
    ("html", "<script type='module'>\n█\n</script>\n", "javascript"),
    ("html", '<script type="text/typescript">\n█\n</script>\n', "typescript"),
    ("html", '<script type="application/ld+json">\n█\n</script>\n', "json"),
    ("html", '<script type="text/x-unheard-of">\n█\n</script>\n', "html"),
    ("html", '<p onclick="f(█)">a</p>\n', "javascript"),
    ("html", "<p>█</p>\n", "html"),
    ("html", "<SCRIPT>\n█\n</SCRIPT>\n", "html"),
    ("erb", "<p><%= █ %></p>\n", "ruby"),
    ("erb", "<p><%= █\n<p>a</p>\n", "ruby"),
    ("erb", "<p><%= a %>█</p>\n", "html"),
    ("erb", "<%# █ %>\n", "erb"),
    ("erb", "<script>\nvar a = <%= b %>;\n█\n</script>\n", "javascript"),
    ("erb", "<script>\nvar a = <%= █ %>;\n</script>\n", "ruby"),
    ("ejs", "<p><%- █ %></p>\n", "javascript"),
    ("php", "<?php\n█\n?>\n<p></p>\n", "php"),
    ("php", "<?php\n?>\n<p>█</p>\n", "html"),
    ("php", "<p><?= █ ?></p>\n", "php"),
    ("php", "<?php\n?>\n<script>\n█\n</script>\n", "javascript"),
    ("php", "<?php\n?>\n<style>\n█\n</style>\n", "css"),
    ("jinja", "{% if a %}\n<p>█</p>\n{% endif %}\n", "html"),
    ("jinja", "{% if █ %}\n{% endif %}\n", "jinja"),
    ("jinja", "<p>{{ █ }}</p>\n", "jinja"),
    ("jinja", "<script>\n█\nvar a = {{ b }};\n</script>\n", "javascript"),
    ("markdown", "```python\n█\n```\n", "python"),
    ("markdown", "```py\n█\n", "python"),
    ("markdown", "````ts\n```\n█\n````\n", "typescript"),
    ("markdown", "~~~ {.rust}\n█\n~~~\n", "rust"),
    ("markdown", "- a\n  ```js\n  █\n  ```\n", "javascript"),
    ("markdown", "```python\n```\n█\n", "markdown"),
    ("markdown", "```\n█\n```\n", "markdown"),
    ("markdown", "```unheard-of\n█\n```\n", "markdown"),
    ("markdown", "---\n█\n---\n", "yaml"),
    ("python", "x = '<script>█'\n", "python"),
]


def opened(language: str, text: str) -> Snapshot:
    return Documents().open("file:///page", language, 1, text)


@pytest.mark.parametrize(("host", "marked", "language"), AT)
def test_the_region_around_the_cursor_decides_its_language(host: str, marked: str, language: str) -> None:
    before, _, after = marked.partition("█")
    snapshot = opened(host, before + after)
    inner = embedded_at(snapshot, len(before.encode())).snapshot
    assert language_of(inner).id == language
    assert (inner is snapshot) == (language == host)


TEXTS = [
    (
        "erb",
        "<p><%= a %> <%= b %></p>\n<% if é %>\n<i>\n<% end %>\n",
        len("<p><%= a"),
        "       a ;      b ;     \n   if é ; \n   \n   end ; \n",
    ),
    (
        "erb",
        "<script>\nvar a = <%= b %>;\n</script>\n",
        len("<script>\nvar"),
        "        \nvar a = ________;\n         \n",
    ),
    ("vue", '<p :a="{ b: c }" :d="e"/>\n', len('<p :a="{ b'), "      ({ b: c })         \n"),
    ("php", "<p><?= $a ?></p>\n", 0, "<p>_________</p>\n"),
]


@pytest.mark.parametrize(("host", "text", "cursor_byte", "alone"), TEXTS)
def test_text_of_other_languages_becomes_blanks(host: str, text: str, cursor_byte: int, alone: str) -> None:
    data = embedded_at(opened(host, text), cursor_byte).snapshot.text.data
    assert data.decode() == alone


def test_a_suggestion_may_end_its_region_and_begin_others() -> None:
    place = embedded_at(opened("erb", "<p><%= a. %></p>\n"), len("<p><%= a."))
    assert place.masked(b"b %></p>\n<%= c %>") == b"b ;     \n    c ; "
    outside = embedded_at(opened("php", "<?php ?>\n<p></p>\n"), len("<?php ?>\n<p>"))
    assert outside.masked(b"<i><?= $a ?></i>") == b"<i>_________</i>"


HOSTS = sorted({language.id for language in all_languages()} & embedded._hosts().keys())
PIECES = [
    *("<script>", '<script lang="ts">', "</script>", "<style>", "</style>", "<!--", "-->", "{{", "}}", "---\n"),
    *(
        "<%",
        "<%=",
        "%>",
        "<?php ",
        "?>",
        "{%",
        "%}",
        "```py\n",
        "```\n",
        '"',
        "f(",
        ")",
        "é",
        "\r\n",
        "\n",
        " @a=",
        "x",
    ),
]
PAGES = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


@given(host=st.sampled_from(HOSTS), page=PAGES, typed=PAGES, share=st.floats(0, 1))
def test_offsets_and_lines_stay_and_trees_equal_those_of_a_fresh_parse(
    host: str, page: str, typed: str, share: float
) -> None:
    for text in (page, page[: len(page) // 2] + typed + page[len(page) // 2 :]):
        snapshot = opened(host, text)
        at = len(text[: int(share * len(text))].encode())
        place = embedded_at(snapshot, at)
        inner = place.snapshot
        assert inner.text.line_starts == snapshot.text.line_starts
        assert len(inner.text.data) == len(snapshot.text.data)
        assert len(place.masked(typed.encode())) == len(typed.encode())
        if inner.syntax is not None and inner.syntax.tree is not None:
            alone = fresh(inner.uri, inner.language_id, 1, inner.text).syntax
            assert alone is not None
            assert alone.tree is not None
            assert str(inner.syntax.tree.root_node) == str(alone.tree.root_node)


def test_every_region_of_the_table_has_a_test() -> None:
    ids = {language.id for language in all_languages()}
    for name, host in embedded._hosts().items():
        languages = {host.outside, *(region.language for region in host.regions)} - {""}
        assert {name, *languages} <= ids


def test_a_page_is_converted_to_each_of_its_languages() -> None:
    page = '<script lang="ts">\nlet a\n</script>\n<p :b="c"/>\n<style>\n</style>\n'
    assert [language_of(each).id for each in embedded_documents(opened("vue", page))] == ["typescript", "css"]
    assert embedded_documents(opened("python", "x\n")) == ()


def test_a_huge_page_has_only_its_own_language() -> None:
    snapshot = opened("html", "<script>\n" + " " * MAX_BYTES + "</script>")
    assert embedded_at(snapshot, 9).snapshot is snapshot
    assert embedded_documents(snapshot) == ()
