"""A source typed with one notification a character, and with completions, to find memory that a long day leaves behind.

A case is `{"source", "every"}`: a completion is requested after every so many characters.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.e2e.conftest import completion_params, notification
from tests.fuzz.edits import change_of, compare
from tests.fuzz.files import SOURCES
from tests.fuzz.peer import Peer

AUTOMATIC = 2
N_DOCUMENTS = 4
"""The number of documents, which are used in turn. The host keeps the states of the others, up to `cache.ramMiB`."""
N_AT_ONCE = 50
"""The number of keystrokes in one write. The next write waits for the replies to all requests."""
CASES = st.fixed_dictionaries({"source": st.sampled_from(SOURCES), "every": st.sampled_from([7, 20])})


def check(peer: Peer, case: dict[str, Any]) -> int:
    """Type the source, compare the text now and then, and return the number of keystrokes. Raises `FaultError`."""
    uri, source = f"untitled:{peer.new_id() % N_DOCUMENTS}.py", case["source"]
    peer.open(uri, "", "python")
    line = character = 0
    sent: list[object] = []
    for number, each in enumerate(source):
        identifier = {"uri": uri, "version": number + 2}
        changes = [change_of(line, character, line, character, each)]
        sent.append(notification("textDocument/didChange", {"textDocument": identifier, "contentChanges": changes}))
        line, character = (line + 1, 0) if each == "\n" else (line, character + len(each.encode("utf-16-le")) // 2)
        if number % case["every"] == 0:
            asked = notification("textDocument/inlineCompletion", completion_params(uri, line, character, AUTOMATIC))
            sent.append(asked | {"id": peer.new_id()})
        if len(sent) >= N_AT_ONCE:
            peer.send(*sent)
            sent.clear()
            peer.settle()
    peer.send(*sent)
    compare(peer, uri, source)
    peer.close_document(uri)
    peer.settle()
    return len(source)
