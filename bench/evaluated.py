"""Prompt tokens that a recorded editing session evaluates, counted without a model: seconds instead of minutes.

`python bench/evaluated.py TRACE --model GGUF [--first N] [--edits N] [--ram-mib N]`. The windows, anchors, prompts
and parked states are the server's; a context that only counts stands for llama.cpp, and nothing is generated. So this
is for trying out what the anchor policy costs with a real vocabulary; `starcoder-lsp bench replay` is the measurement.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from attrs import define

from starcoder_lsp.cli.explain import Reader
from starcoder_lsp.cli.figures import percentile
from starcoder_lsp.cli.replay import URI_NAME
from starcoder_lsp.cli.traces import edits_of, grouped, read_trace, text_before
from starcoder_lsp.documents.documents import Documents, Edit
from starcoder_lsp.engine.engine import Cancelled, Engine
from starcoder_lsp.engine.generation import prefill
from starcoder_lsp.engine.kv_cache import SequenceLedger
from starcoder_lsp.engine.loading import load_vocabulary
from starcoder_lsp.engine.parking import ParkedStates, resume
from starcoder_lsp.prompting import Model, ask, see
from starcoder_lsp.settings import CompletionSettings, ModelSettings, Settings

N_CELL_BYTES = 30 * 1024
"""Of StarCoder2 3B, for the limit of parked states."""
N_CONTEXT = 4096


@define
class Counting:
    """A context that holds no more than the number of its cells."""

    n_context: int = N_CONTEXT
    evaluation_ms: float = 0.0
    n_held: int = 0

    def decode(self, _sequence: int, ids: Sequence[int], _first_position: int, _cancelled: Cancelled) -> bool:
        """Add cells."""
        self.n_held += len(ids)
        return True

    def truncate(self, _sequence: int, n_tokens: int) -> bool:
        """Drop cells."""
        self.n_held = min(self.n_held, n_tokens)
        return True

    def n_cells(self, _sequence: int) -> int:
        """How many there are."""
        return self.n_held

    def save(self, _sequence: int) -> memoryview:
        """A stand-in with one byte for each cell."""
        return memoryview(bytes(self.n_held))

    def restore(self, _sequence: int, state: memoryview) -> bool:
        """As many cells as were copied."""
        self.n_held = state.nbytes
        return True


def main() -> None:
    """Replay and print the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="only its vocabulary is read")
    parser.add_argument("--first", type=int, default=2000)
    parser.add_argument("--edits", type=int, default=4000)
    parser.add_argument("--ram-mib", type=int, default=512)
    arguments = parser.parse_args()
    settings = Settings(model=ModelSettings(path=str(arguments.model)), completion=CompletionSettings(max_tokens=16))
    model = Model.of(cast("Engine", Reader(*load_vocabulary(settings))))
    context: Any = Counting()
    ledger = SequenceLedger(sequence=0)
    states = ParkedStates(arguments.ram_mib * 1024 * 1024 // N_CELL_BYTES)
    trace, documents = read_trace(arguments.trace), Documents()
    uri = f"file:///{URI_NAME}"
    documents.open(uri, "", 0, text_before(trace, arguments.first))
    measured: list[tuple[bool, tuple[int, int, float]]] = []
    for version, edit in enumerate(edits_of(trace, arguments.first, arguments.edits), 1):
        changes = [Edit(c.start_line, c.start_character, c.end_line, c.end_character, c.text) for c in edit.changes]
        snapshot = documents.change(uri, version, changes, "utf-32")
        cursor_byte = snapshot.text.byte_at(edit.line, edit.character, "utf-32")
        started = time.perf_counter()
        window = see(snapshot, cursor_byte, model, settings)
        see_ms = (time.perf_counter() - started) * 1000
        model.anchors.remember(window)
        ids = ask(window, model).ids
        resume(context, ledger, states, uri, ids)
        _, n_evaluated = prefill(context, ledger, ids, lambda: False)
        measured.append((edit.is_typing, (n_evaluated, len(ids), see_ms)))
    for name, group in grouped(measured).items():
        evaluated, prompts, times_ms = zip(*group, strict=True)
        tokens = f"{fmean(evaluated):9.2f} evaluated{fmean(prompts):9.1f} in the prompt"
        ms = ", ".join(f"p{n} {percentile(times_ms, n / 100):.2f}" for n in (50, 95))
        print(f"{name:8}{len(group):6} edits{tokens}; ms to choose the window: {ms}")


if __name__ == "__main__":
    main()
