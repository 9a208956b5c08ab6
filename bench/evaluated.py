"""Prompt tokens that a recorded editing session evaluates, counted without a model: seconds instead of minutes.

`python bench/evaluated.py TRACE --model GGUF [--first N] [--edits N] [--ram-mib N]`. The windows, anchors, prompts
and parked states are the server's; a context that only counts stands for llama.cpp, and nothing is generated. So this
is for trying out what the anchor policy costs with a real vocabulary; `starcoder-lsp bench replay` is the measurement.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from attrs import define, evolve, field

from starcoder_lsp.cli.replay import URI_NAME
from starcoder_lsp.cli.traces import edits_of, grouped, read_trace, text_before
from starcoder_lsp.completion import Model, ask, see
from starcoder_lsp.documents.documents import Documents, Edit
from starcoder_lsp.engine.engine import Cancelled, Engine, ModelInfo
from starcoder_lsp.engine.generation import prefill
from starcoder_lsp.engine.kv_cache import SequenceLedger
from starcoder_lsp.engine.llama import load_vocabulary
from starcoder_lsp.engine.parking import ParkedStates, resume
from starcoder_lsp.engine.tokens import Tokenizer
from starcoder_lsp.settings import Settings

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
        """A stand-in of the size that a copy would have, which takes no memory until it is written to."""
        return memoryview(bytearray(self.n_held)).cast("B") if self.n_held else memoryview(b"")

    def restore(self, _sequence: int, state: memoryview) -> bool:
        """As many cells as were copied."""
        self.n_held = state.nbytes
        return True


@define
class Reader:
    """As much of an engine as the choice of a prompt asks for."""

    info: ModelInfo
    tokenizer: Tokenizer
    prefill_speed: float = 0.0
    context: Counting = field(factory=Counting)
    ledger: SequenceLedger = field(factory=lambda: SequenceLedger(sequence=0))


def main() -> None:
    """Replay and print the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="only its vocabulary is read")
    parser.add_argument("--first", type=int, default=2000)
    parser.add_argument("--edits", type=int, default=4000)
    parser.add_argument("--ram-mib", type=int, default=512)
    arguments = parser.parse_args()
    reader = Reader(*load_vocabulary(arguments.model, N_CONTEXT))
    model, settings = Model.of(cast("Engine", reader)), Settings()
    settings = evolve(settings, completion=evolve(settings.completion, max_tokens=16))
    states = ParkedStates(arguments.ram_mib * 1024 * 1024 // N_CELL_BYTES)
    trace, documents = read_trace(arguments.trace), Documents()
    uri = f"file:///{URI_NAME}"
    documents.open(uri, "", 0, text_before(trace, arguments.first))
    measured: list[tuple[bool, tuple[int, int]]] = []
    for version, edit in enumerate(edits_of(trace, arguments.first, arguments.edits), 1):
        changes = [Edit(c.start_line, c.start_character, c.end_line, c.end_character, c.text) for c in edit.changes]
        snapshot = documents.change(uri, version, changes, "utf-32")
        window = see(snapshot, snapshot.text.byte_at(edit.line, edit.character, "utf-32"), model, settings)
        model.anchors.remember(window)
        ids = ask(window, model).ids
        backend: Any = reader.context
        resume(backend, reader.ledger, states, uri, ids)
        _, n_evaluated = prefill(backend, reader.ledger, ids, lambda: False)
        measured.append((edit.is_typing, (n_evaluated, len(ids))))
    for name, counts in grouped(measured).items():
        evaluated, prompts = zip(*counts, strict=True)
        print(f"{name:8}{len(counts):6} edits{fmean(evaluated):9.2f} evaluated{fmean(prompts):9.1f} in the prompt")


if __name__ == "__main__":
    main()
