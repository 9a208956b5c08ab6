"""All spellings of a document's URI are one, and different documents stay different."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from starcoder_lsp.documents.uris import normalized_uri, path_of
from starcoder_lsp.lsp.client_uris import ClientUris

SPELLINGS = [
    ("file:///a/%5Bid%5D.ts", "file:///a/[id].ts"),
    ("file:///a/%5bid%5d.ts", "file:///a/[id].ts"),
    ("file:///c%3A/a.py", "file:///C:/a.py"),
    ("file:///c%3a/a.py", "file:///c:/a.py"),
    ("FILE:///a.py", "file:///a.py"),
    ("file:/a.py", "file:///a.py"),
    ("file://localhost/a.py", "file:///a.py"),
    ("file:///a%20b%2Bc.py", "file:///a b+c.py"),
    ("file:///caf%C3%A9.py", "file:///café.py"),
    ("file:///%7Euser/a.py", "file:///~user/a.py"),
    ("file:///a%23b%3F.py", "file:///a#b?.py"),
    ("file:///100%.py", "file:///100%25.py"),
    ("file://HOST/share/a.py", "file://host/share/a.py"),
    ("vscode-notebook-cell:/a%20b.ipynb#W1", "vscode-notebook-cell:/a b.ipynb#W1"),
    ("untitled:Untitled%2D1", "untitled:Untitled-1"),
]
OTHERS = [
    ("file:///a/b.py", "file:///a%2Fb.py"),
    ("file:///A.py", "file:///a.py"),
    ("file:///C:/A.py", "file:///C:/a.py"),
    ("vscode-notebook-cell:/a.ipynb#1", "vscode-notebook-cell:/a.ipynb#2"),
    ("vscode-notebook-cell:/a.ipynb#1", "vscode-notebook-cell:/a.ipynb%231"),
    ("untitled:a", "file:a"),
    ("file://host/a.py", "file:///a.py"),
]
NAMES = st.text("ab/[]%#?: é😀\\\ud800+~", min_size=1, max_size=12)


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_two_spellings_of_one_document_are_equal(one: str, other: str) -> None:
    assert normalized_uri(one) == normalized_uri(other)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_uris_of_two_documents_differ(one: str, other: str) -> None:
    assert normalized_uri(one) != normalized_uri(other)


@given(st.sampled_from(["file://", "untitled:", "vscode-notebook-cell:", "x:", ""]), NAMES)
@example("file://", "//a")
def test_a_normal_spelling_is_not_changed(scheme: str, name: str) -> None:
    uri = normalized_uri(f"{scheme}{name}")
    assert normalized_uri(uri) == uri


@given(NAMES)
def test_the_path_is_the_same_for_every_spelling(name: str) -> None:
    escaped = "file:///" + quote(name.encode("utf-8", "surrogatepass"))
    drive = name[:1].isalpha() and name[1:2] == ":"
    assert drive or path_of(normalized_uri(escaped)) == path_of(escaped)


def test_replies_use_the_clients_spelling_and_deep_values_are_not_changed() -> None:
    uris, spelled = ClientUris(), "file:///a/%5bid%5d.ts"
    deep: object = {"uri": spelled}
    for _ in range(2000):
        deep = {"data": deep}
    params = {"textDocument": {"uri": spelled}, "cells": [{"document": spelled}], "uri": 1, "data": deep}
    uris.normalize(params)
    uri = normalized_uri(spelled)
    assert (params["textDocument"], params["cells"]) == ({"uri": uri}, [{"document": uri}])
    assert uris.spelled(uri) == spelled
    assert uris.spelled("file:///other") == "file:///other"


PATHS = [
    ("file:///home/me/a%20b/%C3%A9.py", "/home/me/a b/é.py"),
    ("file:///c%3A/Users/me/a.py", "c:/Users/me/a.py"),
    ("file:///C:/Users/me/a.py", "C:/Users/me/a.py"),
    ("file://localhost/a.py", "/a.py"),
    ("file://server/share/a.py", "//server/share/a.py"),
    ("untitled:Untitled-1", "Untitled-1"),
    ("vscode-remote://ssh-remote%2Bhost/home/me/.env", "/home/me/.env"),
    ("vscode-notebook-cell:/home/me/a.ipynb#W0sZmlsZQ%3D%3D", "/home/me/a.ipynb"),
    ("file:///a%23b.py", "/a#b.py"),
    ("/home/me/a.py", "/home/me/a.py"),
    ("file://[broken", "//[broken"),
    ("", ""),
]


@pytest.mark.parametrize(("uri", "path"), PATHS)
def test_the_path_of_a_uri(uri: str, path: str) -> None:
    assert path_of(uri) == path


@given(st.text())
def test_every_text_has_a_path(text: str) -> None:
    assert "\\" not in path_of(text)
    assert path_of("file:///p/" + quote(text)) == "/p/" + text.replace("\\", "/")
