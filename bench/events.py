"""Measure the time of the statistics on the event loop for each keystroke: `python bench/events.py`.

50 accepted suggestions are followed in a file of 4,000 lines. Each keystroke is an edit and an answer to it; the
database is written meanwhile. The unit is milliseconds of the event loop's own CPU time, since other work on the
machine pauses it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.documents.documents import Edit
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.prompt_model import read_prompt_model
from starcoder_lsp.percentile import percentile
from starcoder_lsp.prompting import Model
from starcoder_lsp.session.session import Session
from starcoder_lsp.stats.store import StorePaths
from starcoder_lsp.stats.writer import Writer
from tests.scripted import ManualEngine

N_KEYS, N_FOLLOWED = 5000, 50
LINE = "value = compute(first, second)  # of the file\n"
ACCEPTED = "result = compute(one, two)"
URI = "file:///home/user/project/file.py"


async def measure(folder: Path) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each edit and of each answer."""
    paths = StorePaths(folder)
    writer = Writer(paths, 365)
    writer.start()
    prompts = read_prompt_model(DEMONSTRATOR, 2048)
    session = Session()
    session.slot.model = Model.of(prompts, ManualEngine(prompts, ""))
    session.observation.start(writer, paths.prepare(), "bench")
    session.documents.open(URI, "python", 1, LINE * 4000)
    edits_ms, answers_ms, version = [], [], 1

    def timed(into: list[float], run: object, *arguments: object) -> None:
        started = time.thread_time()
        run(*arguments)  # type: ignore[operator]
        into.append((time.thread_time() - started) * 1000)

    def change(line: int, character: int, text: str) -> None:
        nonlocal version
        version += 1
        edit = Edit(line, character, line, character, text)
        session.texts.documents.change(URI, version, [edit], "utf-16")
        timed(edits_ms, session.observation.edited, session.texts.view(URI), URI, [edit])

    def offer(line: int, character: int, text: str) -> None:
        view = session.texts.view(URI)
        at = view.own.text.byte_at(line, character, "utf-16")
        completion = Completion(view.own, at, (Item(text),))
        named = session.acceptance.make(URI, completion)
        timed(answers_ms, session.observation.offer, completion, named)

    for number in range(N_FOLLOWED):
        offer(number * 80, 0, ACCEPTED)
        change(number * 80, 0, ACCEPTED)
    edits_ms.clear()
    answers_ms.clear()
    for key in range(N_KEYS):
        change(2000 + key % 7, 3, "xyz"[key % 3])
        offer(2000 + key % 7, 4, f"answer_{key}(value)\n    and another line")
        if key % 50 == 0:
            await asyncio.sleep(0)
    writer.close(60.0)
    return edits_ms, answers_ms


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        edits_ms, answers_ms = asyncio.run(measure(Path(folder)))
    both = [one + other for one, other in zip(edits_ms, answers_ms, strict=True)]
    for name, values in (("an edit", edits_ms), ("an answer", answers_ms), ("both", both)):
        figures = (percentile(values, share) for share in (0.5, 0.95, 0.99))
        print(f"{name}: p50 {next(figures):.3f} ms, p95 {next(figures):.3f} ms, p99 {next(figures):.3f} ms")


if __name__ == "__main__":
    main()
