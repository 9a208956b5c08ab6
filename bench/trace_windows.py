"""The windows and prompts of a recorded session, chosen as the server would, without a model. For other benches."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from attrs import field, frozen

from starcoder_lsp.cli.bench.traces import Edit as TraceEdit
from starcoder_lsp.cli.bench.traces import Trace, document_name, edits_of, read_trace, text_before
from starcoder_lsp.documents.documents import Documents, Edit, Snapshot
from starcoder_lsp.engine.fim import Prompt
from starcoder_lsp.engine.loading import read_prompts
from starcoder_lsp.prompting import CompletionRequest, PromptBuilder, build_prompt, choose_window
from starcoder_lsp.settings import CompletionSettings, ModelSettings, Settings


@frozen
class Step:
    """An edit, the document and cursor behind it, the prompt there, and the time that choosing the window took.

    `pause_s` is the time to the next edit: infinite behind the last one, and in a trace without times.
    """

    edit: TraceEdit
    snapshot: Snapshot
    cursor_byte: int
    prompt: Prompt
    window_ms: float
    pause_s: float


@frozen
class Replay:
    """Edits of a trace, and what chooses their windows. `uri` names the document."""

    arguments: argparse.Namespace
    settings: Settings
    model: PromptBuilder
    uri: str
    _trace: Trace = field(repr=False)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Replay:
        """Read the trace and the vocabulary that `options` names."""
        path = str(arguments.model) if arguments.model else ""
        settings = Settings(model=ModelSettings(path=path), completion=CompletionSettings(max_tokens=16))
        trace = read_trace(arguments.trace)
        uri = f"file:///{quote(document_name(trace, arguments.name))}"
        return cls(arguments, settings, PromptBuilder.reading(read_prompts(settings)), uri, trace)

    def steps(self) -> Iterator[Step]:
        """Apply one edit after another, and choose the window at each."""
        documents, first, times_s = Documents(), self.arguments.first, self._trace.times_s
        documents.open(self.uri, "", 0, text_before(self._trace, first))
        for version, edit in enumerate(edits_of(self._trace, first, self.arguments.edits), 1):
            changes = [Edit(c.start_line, c.start_character, c.end_line, c.end_character, c.text) for c in edit.changes]
            snapshot = documents.change(self.uri, version, changes, "utf-32")
            cursor_byte = snapshot.text.byte_at(edit.line, edit.character, "utf-32")
            started = time.perf_counter()
            window = choose_window(CompletionRequest(snapshot, cursor_byte, self.model, self.settings))
            window_ms = (time.perf_counter() - started) * 1000
            self.model.anchors.remember(window)
            number = first + version
            pause_s = times_s[number] - times_s[number - 1] if number < len(times_s) else math.inf
            yield Step(edit, snapshot, cursor_byte, build_prompt(window, self.model), window_ms, pause_s)


def options(description: str | None, *, first: int = 2000, n_edits: int = 4000) -> argparse.ArgumentParser:
    """Return a parser of the options that choose trace, vocabulary and edits."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--model", type=Path, help="only its vocabulary is read; by default the demonstrator's")
    parser.add_argument("--as", dest="name", help="the edited file's name, which sets its language")
    parser.add_argument("--first", type=int, default=first, help="number of the first edit")
    parser.add_argument("--edits", type=int, default=n_edits)
    return parser
