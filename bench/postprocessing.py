"""Processor time of the stages behind the model: `python bench/postprocessing.py FOLDER... [--holes N]`.

Asks at holes of all kinds, and with `--hostile` in the texts of `bench/hostile.py`. Reports processor time for one
suggestion, so that other work on the machine counts little: what is prepared while the model works, the stop rule, and
everything between a draft's last token and the suggestion: filters, parses, where a further draft begins. The model
runs in another process, and its time is not in it.

With `--drafts FILE`, the model's drafts are recorded in FILE. If it exists, they are replayed instead: no model is
loaded, and places whose suggestion differs from the recorded one are counted and named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from attrs import define, evolve, frozen
from hostile import TEXTS  # beside this script
from recorded_drafts import OtherStepError, Recorded, Recording, RecordingWriter, ReplayingWriter, Shown, engine_of

from starcoder_lsp.background import in_background
from starcoder_lsp.cli import warn
from starcoder_lsp.cli.bench.figures import machine
from starcoder_lsp.cli.bench.holes import Hole, cut_holes, read_sources
from starcoder_lsp.cli.bench.pace import watching
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.completion import generation_request, to_completion
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.context.window import Window, normalized
from starcoder_lsp.documents.documents import Documents, Edit, Snapshot
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.engine import Cancellation, Generation, Prompt, StopRule
from starcoder_lsp.engine.loading import Listeners, opened, read_prompts
from starcoder_lsp.percentile import percentile
from starcoder_lsp.prompting import CompletionRequest, Model, build_prompt, choose_window
from starcoder_lsp.settings import Settings
from starcoder_lsp.steering import write_whole
from starcoder_lsp.suggestions import postprocess
from starcoder_lsp.suggestions.cursor_context import CursorContext, describe_cursor
from starcoder_lsp.suggestions.stopping import stop_rule
from starcoder_lsp.suggestions.suggestion import Suggestion


@frozen
class Place:
    """A cursor in a document."""

    name: str
    snapshot: Snapshot
    cursor_byte: int
    root: Path | None = None

    @classmethod
    def of(cls, hole: Hole) -> Place:
        """Return the place of a hole."""
        line, column = hole.before.count("\n") + 1, len(hole.before.rpartition("\n")[2]) + 1
        return cls(f"{hole.path}:{line}:{column}", hole.snapshot(hole.closed), len(hole.before.encode()), hole.root)


@frozen
class Cost:
    """Milliseconds of processor time for one suggestion.

    `stop_ms` is the stop rule's for all tokens, `token_ms` for the slowest one; `filters_ms` is that behind a draft.
    """

    name: str
    prepare_ms: float
    stop_ms: float
    token_ms: float
    filters_ms: float
    by_filter: dict[str, float]
    recorded: Recorded


@define
class Clock:
    """The processor time of a stop rule."""

    rule: StopRule
    all_ms: float = 0.0
    slowest_ms: float = 0.0

    def __call__(self, text: bytes) -> object:
        """Ask the rule."""
        started = time.thread_time()
        found = self.rule(text)
        elapsed_ms = (time.thread_time() - started) * 1000
        self.all_ms, self.slowest_ms = self.all_ms + elapsed_ms, max(self.slowest_ms, elapsed_ms)
        return found


async def background_ms() -> float:
    """Return the processor time that the background thread has had."""
    return await in_background(time.thread_time) * 1000


async def cost_at(place: Place, model: Model, settings: Settings, before: Recorded | None, *, by_filter: bool) -> Cost:
    """Do at a place what `completion.complete` does, with a clock around each stage behind the prompt.

    With `before`, replay its drafts. Raises `OtherStepError` if other drafts are requested.
    """
    request = CompletionRequest(
        place.snapshot, place.cursor_byte, evolve(model, anchors=Anchors()), settings, WorkspaceContext(place.root)
    )

    def prompted() -> tuple[CursorContext, Window, Prompt]:
        window = choose_window(request)
        cursor = describe_cursor(place.snapshot, place.cursor_byte, settings.completion.multiline)
        return cursor, window, build_prompt(window, request.model)

    cursor, window, prompt = await in_background(prompted)
    asked = evolve(generation_request(request, prompt), ends_with_line=cursor.one_line and not cursor.may_open)
    times = [await background_ms()]
    await in_background(postprocess.prepare, cursor)
    times.append(await background_ms())
    clock = Clock(stop_rule(cursor))
    parts = model.engine, asked, model.tokenizer.piece, clock, Cancellation(), lambda _texts: None
    writer = RecordingWriter(*parts) if before is None else ReplayingWriter(*parts, list(before.steps))
    generation, _ = await write_whole(writer, cursor, normalized)
    completion = await in_background(to_completion, window, cursor, generation)
    times.append(await background_ms())
    steps = tuple(writer.steps) if isinstance(writer, RecordingWriter) else ()
    if model.engine.cache is not None:
        await model.engine.cache.forget()
    return Cost(
        name=place.name,
        prepare_ms=times[1] - times[0],
        stop_ms=clock.all_ms,
        token_ms=clock.slowest_ms,
        filters_ms=times[2] - times[1],
        by_filter=await in_background(each_filter, cursor, generation) if by_filter else {},
        recorded=Recorded(steps, Shown.of(completion)),
    )


def each_filter(cursor: CursorContext, generation: Generation) -> dict[str, float]:
    """Return the time of each filter, with nothing known of the draft from before."""
    written = generation.written[0]
    cursor = evolve(cursor, memo={})
    postprocess.prepare(cursor)
    suggestion, costs = Suggestion(normalized(written.text), written.stop_reason), {}
    for apply in postprocess.FILTERS:
        started = time.thread_time()
        suggestion = apply(suggestion, cursor)
        costs[apply.__name__] = (time.thread_time() - started) * 1000
    return costs


def hostile_places() -> list[Place]:
    """Return the middles and ends of the texts of `bench/hostile.py`, a character typed there."""
    places = []
    for name, (language, text) in TEXTS.items():
        for share in (0.5, 1.0):
            documents, head = Documents(), text[: int(len(text) * share)]
            documents.open("file:///hostile", language, 1, text)
            line, character = head.count("\n"), len(head.rpartition("\n")[2])
            snapshot = documents.change("file:///hostile", 2, [Edit(line, character, line, character, "a")], "utf-16")
            places.append(Place(f"{name}, {'end' if share == 1 else 'middle'}", snapshot, len(head.encode()) + 1))
    return places


async def costs_at(
    places: Sequence[Place], settings: Settings, drafts: Path | None, *, by_filter: bool, n_tries: int
) -> list[Cost]:
    """Ask at each place, with a model, or with the drafts that a file has."""
    recording = Recording.read(drafts) if drafts is not None else None
    if recording is not None:
        return await replayed(places, settings, recording, by_filter=by_filter, n_tries=n_tries)
    async with opened(settings, Listeners(on_message=warn)) as parts:
        model = Model.of(*parts)
        with watching(places, len(places), "asking") as watched:
            costs = [await cost_at(place, model, settings, None, by_filter=by_filter) for place in watched]
    if drafts is not None:
        Recording(model.engine.capabilities, {cost.name: cost.recorded for cost in costs}).write(drafts)
    return costs


async def replayed(
    places: Sequence[Place], settings: Settings, recording: Recording, *, by_filter: bool, n_tries: int
) -> list[Cost]:
    """Replay drafts at the places that have some, and report where a suggestion differs from the recorded one.

    The cheapest of `n_tries` counts.
    """
    model, costs, n_other = Model.of(read_prompts(settings), engine_of(recording)), list[Cost](), 0
    for place in places:
        before = recording.places.get(place.name)
        if before is None:
            continue
        try:
            tries = [await cost_at(place, model, settings, before, by_filter=by_filter) for _ in range(n_tries)]
            costs.append(min(tries, key=lambda cost: cost.filters_ms))
        except OtherStepError as error:
            warn(f"{place.name}: {error}")
            n_other += 1
            continue
        if costs[-1].recorded.shown != before.shown:
            warn(f"{place.name}: {costs[-1].recorded.shown} in place of {before.shown}")
            n_other += 1
    warn(f"{n_other} of {len(costs)} suggestions differ from the recorded ones")
    return costs


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return percentiles in milliseconds."""
    return {
        "p50": round(percentile(values, 0.5), 3),
        "p95": round(percentile(values, 0.95), 3),
        "max": round(max(values), 3),
    }


def main() -> None:
    """Ask, and print percentiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--holes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("--drafts", type=Path, metavar="FILE", help="record the drafts at holes in FILE, or replay it")
    parser.add_argument("--tries", type=int, default=1, help="replays of a place, of which the cheapest counts")
    parser.add_argument("--filters", action="store_true", help="the time of each filter, too")
    parser.add_argument("--slowest", type=int, default=0, metavar="N", help="print the N slowest places")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="changes")
    options = parser.parse_args()
    settings = configured(None, options.changes)
    holes = cut_holes(read_sources(options.folders, settings, options.seed), options.holes, options.seed)
    places = [Place.of(hole) for hole in holes]
    groups = {"holes": places, "hostile": hostile_places() if options.hostile else []}
    files = {"holes": options.drafts, "hostile": None}
    ask = partial(costs_at, settings=settings, by_filter=options.filters, n_tries=options.tries)
    report: dict[str, object] = {"machine": machine()}
    slowest: list[Cost] = []
    for name, each in groups.items():
        if not each:
            continue
        costs = asyncio.run(ask(each, drafts=files[name]))
        slowest += sorted(costs, key=lambda cost: -cost.filters_ms)[: options.slowest]
        names = ("prepare_ms", "stop_ms", "token_ms", "filters_ms")
        report[name] = {
            "suggestions": len(costs),
            **{key: spread([getattr(cost, key) for cost in costs]) for key in names},
        }
        if options.filters:
            sums = Counter[str]()
            for cost in costs:
                sums.update(cost.by_filter)
            report[f"{name}, mean of each filter"] = {key: round(ms / len(costs), 3) for key, ms in sums.most_common()}
    print(json.dumps(report, indent=1))
    for cost in slowest:
        print(f"{cost.filters_ms:8.2f} ms  stop {cost.stop_ms:7.2f}  prepare {cost.prepare_ms:7.2f}  {cost.name}")


if __name__ == "__main__":
    main()
