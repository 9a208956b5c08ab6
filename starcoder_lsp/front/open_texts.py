"""The documents that the editor has open, kept as the messages that open them in a new session.

Of each text the front keeps one whole state and the changes since, as they came: a keystroke costs an entry in a list.
When the list is long it is folded into the whole text, by the session's own code and off the threads that relay.
Nothing is checked here: a malformed message is kept as it came, and the session reports what is wrong with it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

from starcoder_lsp.documents.uris import joined_uri, normalized_uri

MAX_CHANGES: Final = 64
"""Changes of a text before they are folded: a splice takes 0.3 ms in 130 KB. Not measured."""

Message = dict[str, Any]


class OpenText:
    """A document or a cell: `item` is its `TextDocumentItem`, `changes` are the lists of changes since, in order."""

    def __init__(self, item: Message) -> None:
        self.item = item
        self.changes: list[tuple[Any, list[Any]]] = []
        self.n_changed = 0
        """Characters written since the text was opened."""

    def change(self, version: Any, changes: list[Any]) -> None:
        """Note changes. A whole text replaces what was before it."""
        self.n_changed += sum(len(_text_of(change)) for change in changes)
        whole = next((n for n in reversed(range(len(changes))) if _is_whole(changes[n])), None)
        if whole is not None:
            self.item = {**self.item, "version": version, "text": changes[whole]["text"]}
            self.changes, changes = [], changes[whole + 1 :]
        if changes:
            self.changes.append((version, changes))

    def folded(self, encoding: str) -> tuple[Message, int]:
        """Return the item with the changes in it, and how many of `changes` those are. Raises for what is no change."""
        from starcoder_lsp.documents.text import Text

        changes = list(self.changes)
        text = Text.from_str(self.item["text"])
        for _version, each in changes:
            for change in each:
                start, end = change["range"]["start"], change["range"]["end"]
                places = sorted(
                    text.byte_at(place["line"], place["character"], encoding)  # type: ignore[arg-type]  # one of three
                    for place in (start, end)
                )
                text = text.splice(places[0], places[1], change["text"].encode("utf-8", "surrogatepass"))
        return {**self.item, "version": changes[-1][0], "text": text.to_str()}, len(changes)


class OpenNotebook:
    """A notebook: its `NotebookDocument` with the cells in their order now, and the texts of the cells."""

    def __init__(self, document: Message, texts: dict[str, OpenText]) -> None:
        self.document = document
        self.texts = texts

    def change(self, version: Any, change: Message) -> None:
        """Apply a change of the notebook."""
        self.document = {**self.document, "version": version}
        cells = change.get("cells") or {}
        structure = cells.get("structure") or {}
        array = structure.get("array")
        if array:
            start, end = array["start"], array["start"] + array["deleteCount"]
            order = list(self.document["cells"])
            order[start:end] = array.get("cells") or []
            self.document["cells"] = order
        for closed in structure.get("didClose") or ():
            self.texts.pop(closed["uri"], None)
        for opened in structure.get("didOpen") or ():
            self.texts[opened["uri"]] = OpenText(opened)
        recast = {cell["document"]: cell for cell in cells.get("data") or ()}
        self.document["cells"] = [recast.get(cell["document"], cell) for cell in self.document["cells"]]
        for content in cells.get("textContent") or ():
            document = content["document"]
            self.texts[document["uri"]].change(document.get("version"), content["changes"])


class OpenTexts:
    """All documents and notebooks. Its methods are called under the front's lock."""

    def __init__(self) -> None:
        self.encoding = "utf-16"
        self.documents: dict[str, OpenText] = {}
        self.notebooks: dict[str, OpenNotebook] = {}
        self._folding: threading.Thread | None = None

    def take(self, method: str, params: Any) -> None:
        """Note a message about documents."""
        try:
            if method == "textDocument/didOpen":
                item = params["textDocument"]
                self.documents[normalized_uri(item["uri"])] = OpenText(item)
            elif method == "textDocument/didClose":
                self.documents.pop(normalized_uri(params["textDocument"]["uri"]), None)
            elif method == "textDocument/didChange":
                document = params["textDocument"]
                text = self.documents[normalized_uri(document["uri"])]
                text.change(document.get("version"), params["contentChanges"])
            elif method == "notebookDocument/didOpen":
                document, items = params["notebookDocument"], params.get("cellTextDocuments") or ()
                self.notebooks[normalized_uri(document["uri"])] = OpenNotebook(
                    document, {item["uri"]: OpenText(item) for item in items}
                )
            elif method == "notebookDocument/didClose":
                self.notebooks.pop(normalized_uri(params["notebookDocument"]["uri"]), None)
            elif method == "notebookDocument/didChange":
                document = params["notebookDocument"]
                self.notebooks[normalized_uri(document["uri"])].change(document.get("version"), params["change"])
        except (AttributeError, KeyError, TypeError, ValueError):
            pass  # the session says what is wrong with it, and waits for the whole text

    def extent(self, uri: str) -> tuple[int, int] | None:
        """Return the characters written since a text was opened, and its length then; `None` for one that is not open.

        `uri` is that of a document, or of the joined cells of a notebook, which count together.
        """
        texts = [self.documents[uri]] if uri in self.documents else []
        for name, notebook in self.notebooks.items():
            if uri.startswith(joined_uri(name, "")):
                texts += notebook.texts.values()
        if not texts:
            return None
        return sum(each.n_changed for each in texts), sum(len(_text_of(each.item)) for each in texts)

    def texts(self) -> Iterator[OpenText]:
        """Iterate over all texts, cells among them."""
        yield from self.documents.values()
        for notebook in self.notebooks.values():
            yield from notebook.texts.values()

    def messages(self) -> Iterator[tuple[str, Message]]:
        """Yield the notifications that open the editor's documents in a new session, as method and parameters."""
        for text in self.documents.values():
            yield "textDocument/didOpen", {"textDocument": text.item}
            for version, changes in text.changes:
                document = {"uri": text.item["uri"], "version": version}
                yield "textDocument/didChange", {"textDocument": document, "contentChanges": changes}
        for notebook in self.notebooks.values():
            items = [text.item for text in notebook.texts.values()]
            yield "notebookDocument/didOpen", {"notebookDocument": notebook.document, "cellTextDocuments": items}
            content = [
                {"document": {"uri": uri, "version": version}, "changes": changes}
                for uri, text in notebook.texts.items()
                for version, changes in text.changes
            ]
            if content:
                document = {"uri": notebook.document["uri"], "version": notebook.document.get("version")}
                yield (
                    "notebookDocument/didChange",
                    {
                        "notebookDocument": document,
                        "change": {"cells": {"textContent": content}},
                    },
                )

    def fold_if_long(self, lock: threading.RLock) -> None:
        """Begin to fold long lists of changes into their texts, on a thread of its own that takes `lock` in the end."""
        if self._folding is None and any(len(text.changes) > MAX_CHANGES for text in self.texts()):
            self._folding = threading.Thread(target=self._fold, args=(lock,), name="fold", daemon=True)
            self._folding.start()

    def _fold(self, lock: threading.RLock) -> None:
        with lock:
            long = [text for text in self.texts() if len(text.changes) > MAX_CHANGES]
        for text in long:
            before = text.item
            try:
                item, n_folded = text.folded(self.encoding)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError):
                continue  # the session refused such a change too; the list stays as it came
            with lock:
                if text.item is before:  # no whole text came meanwhile
                    text.item, text.changes = item, text.changes[n_folded:]
        self._folding = None


def _is_whole(change: Any) -> bool:
    return change.get("range") is None and isinstance(change.get("text"), str)


def _text_of(change: Any) -> str:
    text = change.get("text")
    return text if isinstance(text, str) else ""
