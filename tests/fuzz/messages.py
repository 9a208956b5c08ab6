"""Messages made from the types of lsprotocol, valid ones and mutated ones, in both directions.

A case is `{"messages", "replies"}`. A message is `{"method", "params", "isRequest"}`, or `{"raw": bytes as
Latin-1}`. The client gives the replies in turn to requests of the server.
"""

from __future__ import annotations

import json
from itertools import cycle
from typing import Any

from hypothesis import strategies as st
from lsprotocol import types

from tests.e2e.conftest import framed, notification
from tests.fuzz.peer import SETTINGS, Peer
from tests.fuzz.schema import JUNK, URIS, values

NEVER = {"exit", "shutdown", "initialize"}
"""Methods that are never sent, since they end a session. `tests/e2e/test_lifecycle.py` tests them in any order."""
DOCUMENT = st.fixed_dictionaries({"uri": st.sampled_from(URIS)})
OWN: dict[str, st.SearchStrategy[Any]] = {
    "starcoder/metrics": JUNK,
    "starcoder/explain": st.fixed_dictionaries({"textDocument": DOCUMENT, "position": values(types.Position)}),
    "textDocument/didFocus": st.fixed_dictionaries({"textDocument": DOCUMENT}),
    "textDocument/didShowCompletion": st.fixed_dictionaries({"item": values(types.InlineCompletionItem)}),
    "textDocument/didPartiallyAcceptCompletion": st.fixed_dictionaries(
        {"item": values(types.InlineCompletionItem), "acceptedLength": values(int)}
    ),
    "starcoder/didReject": st.fixed_dictionaries({"items": st.lists(values(types.InlineCompletionItem), max_size=2)}),
    "no/such": JUNK,
    "": JUNK,
}
"""Methods that are not part of the protocol."""
SECTIONS = ["completion", "context", "debounce", "stats", "languages", "trigger", "enabled", "disabledGlobs", "x"]
KEYS = ["maxTokens", "maxItems", "timeoutMs", "minConfidence", "seed", "ms", "mode", "suffixShare", "imports", "x"]
CONFIGURED = st.dictionaries(st.sampled_from(SECTIONS), st.one_of(JUNK, st.dictionaries(st.sampled_from(KEYS), JUNK)))
"""Settings whose changes do not restart the model."""
RAW = [
    framed(b"{"), framed(b"\xff\xfe\0"), framed(b"[" * 1000), framed(b"1" * 5000), framed(b""), framed(b"NaN"),
    framed(b"[]"), framed(b"null"), framed(b'{"jsonrpc":"2.0","id":[],"method":"starcoder/metrics"}'),
    framed(b'{"jsonrpc":"2.0","id":null,"method":"x"}'), framed(b'{"jsonrpc":"1.0","method":"x"}'), b"\r\n\r\n",
    b"Hello\r\n\r\n", b"Content-Length: -5\r\n\r\n", b"Content-Length: x\r\n\r\n",
    b"Content-Type: x\r\n" + framed(b'{"jsonrpc":"2.0","method":"x"}'),
]  # fmt: skip
WAYS = ["replace", "drop", "add", "wrap"]
MUTATIONS = st.lists(st.tuples(st.sampled_from(WAYS), st.integers(0, 60), JUNK), max_size=3)


N_AT_ONCE = 20
"""The number of messages in one write."""
MAX_DEPTH = 12
"""The largest depth of a mutated place; the protocol's own types are less deep."""


def params_of(method: str) -> st.SearchStrategy[Any]:
    """Return a strategy for the parameters of a method."""
    return OWN[method] if method in OWN else _of_method(method)


def is_request(method: str) -> bool:
    """Return whether the protocol knows a method as a request."""
    return method in types.METHOD_TO_TYPES and hasattr(types.METHOD_TO_TYPES[method][0], "id")


def _of_method(method: str) -> st.SearchStrategy[Any]:
    params = types.METHOD_TO_TYPES[method][2]
    if method == "workspace/didChangeConfiguration":
        return st.fixed_dictionaries({"settings": st.fixed_dictionaries({"starcoder": CONFIGURED})})
    if method == "$/cancelRequest":
        return st.fixed_dictionaries({"id": st.one_of(st.just("the last"), JUNK)})
    return st.none() if params is None else values(params)


def _message(method: str) -> st.SearchStrategy[dict[str, Any]]:
    usual = is_request(method)
    kinds = st.sampled_from([usual, usual, usual, not usual])
    return st.builds(built, st.just(method), params_of(method), MUTATIONS, kinds)


def built(method: str, params: Any, mutations: list[Any], is_request: bool) -> dict[str, Any]:  # noqa: FBT001
    """Return a message with its mutations: `[way, number of the place, value]`."""
    holder = {"params": json.loads(json.dumps(params))}
    for kind, number, junk in mutations:
        places = list(_places(holder))
        _mutate(
            *places[number % len(places)], kind, json.loads(json.dumps(junk))
        )  # a later mutation may change the value
    return {"method": method, "isRequest": is_request} | holder


def _places(value: Any, depth: int = 0) -> Any:
    """Return each container with each of its keys, outer containers first."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list) and depth < MAX_DEPTH:
            yield from _places(value[key], depth + 1)


def _mutate(container: Any, key: Any, kind: str, junk: Any) -> None:
    if kind == "replace" or (key == "params" and kind == "drop"):
        container[key] = junk
    elif kind == "drop":
        del container[key]
    elif kind == "wrap":
        container[key] = [container[key]]
    elif isinstance(container[key], dict):
        container[key]["added"] = junk
    else:
        container[key] = {"added": container[key]}


METHODS = sorted({*types.METHOD_TO_TYPES, *OWN} - NEVER)
OFTEN = ["textDocument/didOpen", "textDocument/didChange", "textDocument/inlineCompletion", "textDocument/completion",
         "textDocument/codeAction", "workspace/executeCommand", "notebookDocument/didChange", "$/cancelRequest",
         "workspace/didChangeConfiguration", "notebookDocument/didOpen"]  # fmt: skip
"""Methods that are drawn more often, since they cause the most work."""
MESSAGES = st.one_of(
    st.sampled_from(OFTEN).flatmap(_message),
    st.sampled_from(METHODS).flatmap(_message),
    st.sampled_from(METHODS).flatmap(_message),
    st.sampled_from([{"raw": each.decode("latin-1")} for each in RAW]),
)


def cases(min_messages: int, max_messages: int) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for cases of so many messages."""
    return st.fixed_dictionaries(
        {
            "messages": st.lists(MESSAGES, min_size=min_messages, max_size=max_messages),
            "replies": st.lists(JUNK, min_size=1, max_size=3),
        }
    )


def check(peer: Peer, case: dict[str, Any]) -> int:
    """Send the messages, and check that each request has a reply and the server goes on. Raises `FaultError`."""
    replies = cycle(case["replies"])
    peer.respond = lambda _request: next(replies)
    for uri in URIS[:2]:
        peer.open(uri, "import os\n\n\ndef f(a):\n    return a", "python")
    number = 0
    unsent: list[object] = []
    for message in case["messages"]:
        if "raw" in message:
            unsent.append(message["raw"].encode("latin-1"))
            continue
        params = message["params"]
        if message["method"] == "$/cancelRequest" and isinstance(params, dict) and params.get("id") == "the last":
            params = {"id": number}
        sent = notification(message["method"], params)
        if message["isRequest"]:
            number = peer.new_id()
            sent["id"] = number
        unsent.append(sent)
        if len(unsent) >= N_AT_ONCE:
            peer.send(*unsent)
            unsent.clear()
    peer.send(*unsent)
    peer.settle()
    peer.respond = lambda _request: None
    peer.notify("workspace/didChangeConfiguration", {"settings": {"starcoder": SETTINGS}})
    while "error" not in peer.call("no/such").message:
        pass  # the front may reply: until the session has read the settings, the deadline may be a short one
    for uri in URIS[:2]:
        peer.close_document(uri)
    uri = f"untitled:{peer.new_id()}.py"
    peer.open(uri, "value = 1", "python")
    seen = peer.explain(uri, 0, 9)
    if seen is None or "value = 1" not in seen.get("prompt", "").replace("<fim_suffix><fim_middle>", ""):
        message = f"a document that is opened afterwards is not seen: {seen}"
        raise peer.fault(message)
    peer.close_document(uri)
    peer.settle()
    return len(case["messages"])
