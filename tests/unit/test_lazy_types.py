"""The protocol's classes that are finished at their first use, against those that are finished when imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# In processes of their own: this one has imported the classes.
DESCRIBE = """
import inspect, json, sys
from starcoder_lsp.lsp import lazy_types
if sys.argv[1] == "lazy":
    lazy_types.import_types()
    from starcoder_lsp.lsp.lazy_converter import make_converter as make
else:
    import lsprotocol.types
    from pygls.protocol import default_converter as make
import attrs
from lsprotocol import types
converter = make()
classes = {n: c for n, c in vars(types).items() if isinstance(c, type) and c.__module__ == types.__name__}
unfinished = [n for n, c in classes.items() if isinstance(vars(c).get("__attrs_attrs__"), lazy_types._Fields)]
described = {}
for name, cls in sorted(classes.items()):
    if attrs.has(cls):
        fields = [(f.name, str(f.default), f.validator.__class__.__name__, f.kw_only) for f in attrs.fields(cls)]
        own = [m for m in ("__init__", "__eq__", "__repr__", "__match_args__", "__hash__") if m in vars(cls)]
        described[name] = [fields, own, str(inspect.signature(cls)), list(cls.__match_args__)]
messages = []
for name, value in json.load(sys.stdin):
    made = converter.structure(value, classes[name])
    again = converter.structure(value, classes[name])
    messages.append([repr(made), converter.unstructure(made), made == again])
json.dump([len(unfinished), described, messages], sys.stdout)
"""
PLACE = {"line": 1, "character": 2}
RANGE = {"start": PLACE, "end": PLACE}
MESSAGES = [
    ("InitializeParams", {"processId": 3, "rootUri": None, "capabilities": {"workspace": {"configuration": True}}}),
    ("InitializeParams", {"capabilities": {}, "workspaceFolders": [{"uri": "file:///x", "name": "x"}], "trace": "off"}),
    ("DidChangeTextDocumentParams", {"textDocument": {"uri": "u", "version": 2}, "contentChanges": [{"text": "x"}]}),
    (
        "DidChangeTextDocumentParams",
        {"textDocument": {"uri": "u", "version": 2}, "contentChanges": [{"range": RANGE, "text": "x"}]},
    ),
    ("InlineCompletionParams", {"textDocument": {"uri": "u"}, "position": PLACE, "context": {"triggerKind": 2}}),
    ("CodeActionParams", {"textDocument": {"uri": "u"}, "range": RANGE, "context": {"diagnostics": []}}),
    ("CodeAction", {"title": "t", "kind": "quickfix", "data": {"a": [1]}, "edit": {"changes": {"u": []}}}),
    ("ServerCapabilities", {"textDocumentSync": {"openClose": True, "change": 2}, "inlineCompletionProvider": {}}),
    ("CompletionItem", {"label": "l", "textEdit": {"range": RANGE, "newText": "n"}, "kind": 3}),
    ("Hover", {"contents": {"kind": "markdown", "value": "v"}, "range": RANGE}),
    ("Diagnostic", {"range": RANGE, "message": "m", "code": 3, "severity": 1}),
    ("Position", PLACE),
]


def described(how: str) -> Any:
    """Return the description of the classes from a process that imports them in one of the two ways."""
    return json.loads(
        subprocess.run(  # noqa: S603  our own program
            [sys.executable, "-c", DESCRIBE, how],
            input=json.dumps(MESSAGES),
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
    )


def test_they_are_the_same_classes_and_make_the_same_messages() -> None:
    n_lazy, lazy, lazy_messages = described("lazy")
    n_eager, eager, eager_messages = described("eager")
    assert (n_eager, n_lazy > 500) == (0, True)
    assert lazy.keys() == eager.keys()
    assert {name: lazy[name] for name in lazy if lazy[name] != eager[name]} == {}
    assert lazy_messages == eager_messages
    assert len(lazy_messages) == len(MESSAGES)
