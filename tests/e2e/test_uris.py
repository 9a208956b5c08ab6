"""A client may spell a document's URI in several ways; replies use its own spelling."""

from __future__ import annotations

import pytest

from .conftest import CODE, CURSOR, Start, notification


@pytest.mark.parametrize(
    ("opened", "asked"),
    [("file:///src/%5Bid%5D.py", "file:///src/[id].py"), ("file:///c%3A/a.py", "file:///C:/a.py")],
)
def test_all_spellings_of_a_uri_are_one_document(wire: Start, opened: str, asked: str) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    server.open(opened, CODE)
    assert server.complete(1, asked, *CURSOR)["result"]["items"]
    (document,) = server.call(2, "starcoder/metrics")["result"]["documents"]
    assert document["uri"] == asked
    server.send(notification("textDocument/didClose", {"textDocument": {"uri": asked}}))
    assert "not open" in server.complete(3, opened, *CURSOR)["error"]["message"]
