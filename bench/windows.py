"""Measure an edit, its parse and the choice of a window, in milliseconds: `python bench/windows.py FILE...`.

200 single-letter edits of each file, every fourth at a random line, the others where the last one was. The file is read
ahead first, as the server does with a document that was opened; `--cold` leaves that out.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve

from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.documents.documents import Documents, Edit
from starcoder_lsp.engine.loading import read_prompts
from starcoder_lsp.percentile import percentile
from starcoder_lsp.prompting import CompletionRequest, PromptBuilder, choose_window
from starcoder_lsp.settings import Settings

N_EDITS = 200


def times_of(
    path: Path, model: PromptBuilder, settings: Settings, *, is_cold: bool
) -> Iterator[tuple[float, float, float]]:
    """Return the milliseconds of each edit, its parse and its window."""
    documents, rng, uri = Documents(), random.Random(1), path.resolve().as_uri()  # noqa: S311  not a secret
    snapshot = documents.open(uri, "", 0, path.read_bytes().decode())
    if not is_cold:
        for _ in model.tokenizer.learn(snapshot.text.data):
            pass
    choose_window(CompletionRequest(snapshot, 0, model, settings))
    line = character = 0
    for version in range(1, N_EDITS + 1):
        if version % 4 == 1:
            line = rng.randrange(snapshot.text.n_lines)
            character = snapshot.text.position_of(snapshot.text.line_span(line)[1], "utf-32")[1]
        began = time.perf_counter()
        snapshot = documents.change(uri, version, [Edit(line, character, line, character, "x")], "utf-32")
        edited = time.perf_counter()
        if snapshot.syntax is not None:
            snapshot.syntax.tree  # noqa: B018  parses
        parsed = time.perf_counter()
        character += 1
        cursor_byte = snapshot.text.byte_at(line, character, "utf-32")
        window = choose_window(CompletionRequest(snapshot, cursor_byte, model, settings))
        chosen = time.perf_counter()
        model.anchors.remember(window)
        yield (edited - began) * 1000, (parsed - edited) * 1000, (chosen - parsed) * 1000


def main() -> None:
    """Measure each file and print its percentiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--cold", action="store_true", help="do not read the files ahead")
    arguments = parser.parse_args()
    settings = Settings()
    model = PromptBuilder.reading(read_prompts(settings))
    for path in arguments.files:
        builder = evolve(model, anchors=Anchors())
        times = zip(*times_of(path, builder, settings, is_cold=arguments.cold), strict=True)
        figures = (
            f"{name} {percentile(ms, 0.5):.2f}, {percentile(ms, 0.95):.2f}"
            for name, ms in zip(("edit", "parse", "window"), times, strict=True)
        )
        print(f"{path.name}: ms p50, p95: {'; '.join(figures)}")


if __name__ == "__main__":
    main()
