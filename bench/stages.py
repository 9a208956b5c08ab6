"""Measure the effect of each stage on suggestions: `python bench/stages.py FOLDER... [--holes N] [--seed N]`.

The model writes once into each hole, greedily, up to a stop token or `completion.maxTokens`, with token healing and
without. Of that text suggestions are made in many ways: raw, by all stages, and by all but one. Raw text is cut at the
first newline where the rest of a line is hidden. With `--without-trees` nothing is known of the syntax, as in a
language without a grammar.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from attrs import evolve, frozen

from starcoder_lsp.cli.bench.eval import Ask, Filled, difference, fill, summary
from starcoder_lsp.cli.bench.holes import BLOCK, INSIDE_LINE, MID_WORD, REST_OF_LINE, Hole, cut_holes, read_sources
from starcoder_lsp.cli.bench.pace import watching
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.completion import BEAM_MARGIN_NATS, Completion, Item
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.context.window import Window, normalized
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.engine import Cancellation, CompletionOutput, GenerationRequest, Prompt
from starcoder_lsp.engine.generation import confidence
from starcoder_lsp.engine.generation import generate as run
from starcoder_lsp.engine.loading import opened
from starcoder_lsp.prompting import CompletionRequest, Model, build_prompt, choose_window
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.cursor_context import CursorContext, describe_cursor
from starcoder_lsp.suggestions.postprocess import FILTERS, Filter, postprocess
from starcoder_lsp.suggestions.stopping import stop_rule
from starcoder_lsp.suggestions.suggestion import Suggestion

KINDS = (REST_OF_LINE, MID_WORD, INSIDE_LINE, BLOCK)
N_ANSWERS = 3


@frozen
class Raw:
    """What the model wrote into a hole: healed, the likeliest beginning first, and not healed."""

    hole: Hole
    window: Window
    cursor: CursorContext
    healed: tuple[CompletionOutput, ...]
    unhealed: CompletionOutput


Way = Callable[[Raw], Item]


async def generate(hole: Hole, model: Model, settings: Settings, *, has_trees: bool) -> Raw:
    """Let the model write, with no stop rule. Each hole begins with an empty cache."""
    snapshot, cursor_byte = hole.snapshot(hole.closed), len(hole.before.encode())
    seen = snapshot if has_trees else evolve(snapshot, syntax=None)
    fresh = evolve(model, anchors=Anchors())
    window = choose_window(CompletionRequest(snapshot, cursor_byte, fresh, settings, WorkspaceContext(hole.root)))
    prompt = build_prompt(window, fresh)

    async def written(prompt: Prompt, n_answers: int) -> tuple[CompletionOutput, ...]:
        request = GenerationRequest(snapshot.uri, prompt, settings.completion.max_tokens, 1e9, n_answers=n_answers)
        piece = model.tokenizer.piece
        return (await run(model.engine, request, piece, lambda _text: None, Cancellation())).written

    healed = await written(prompt, N_ANSWERS)
    ids = (*prompt.ids, *model.tokenizer.encode(prompt.heal))
    (unhealed,) = await written(evolve(prompt, ids=ids, heal=b""), 1) if prompt.heal else healed[:1]
    if model.engine.cache is not None:
        await model.engine.cache.forget()
    return Raw(hole, window, describe_cursor(seen, cursor_byte, settings.completion.multiline), healed, unhealed)


def as_it_is(written: CompletionOutput, raw: Raw) -> Item:
    """Return the raw text, up to the first newline if only a line is hidden."""
    text = normalized(written.text)
    shown = text if raw.hole.kind == BLOCK else text.partition(b"\n")[0]
    return Item(shown.decode("utf-8", "replace").rstrip())


def finished(written: CompletionOutput, raw: Raw, filters: Sequence[Filter] = FILTERS) -> Item:
    """Return the text after the filters."""
    suggestion, _ = postprocess(Suggestion(normalized(written.text), written.stop_reason), raw.cursor, filters)
    return Item(suggestion.text.decode("utf-8", "replace"), suggestion.n_replaced_bytes)


def raced(raw: Raw, n: int = 2, margin_nats: float = BEAM_MARGIN_NATS) -> CompletionOutput:
    """Return the answer with the likeliest first line, among at most `n` whose first tokens are within the margin."""
    first = raw.healed[0]
    if not first.ids or not raw.healed[1:] or not raw.healed[1].ids:
        return first
    near = [one for one in raw.healed[:n] if one.ids and first.logprobs[0] - one.logprobs[0] <= margin_nats]
    return max(near, key=lambda one: one.first_line_logprob)


def without(name: str) -> Way:
    """Return the way with all filters but one."""
    filters = [each for each in FILTERS if each.__name__ != name]
    return lambda raw: finished(raced(raw), raw, filters)


def confident(least: float) -> Way:
    """Return the way with all stages that drops answers below a confidence."""
    return lambda raw: finished(raced(raw), raw) if confidence(raced(raw).logprobs) >= least else Item("")


def at_another_site(**changes: bool) -> Way:
    """Return the way with all stages, and another decision about one line or several."""

    def way(raw: Raw) -> Item:
        return finished(raced(raw), evolve(raw, cursor=evolve(raw.cursor, **changes)))

    return way


WAYS: dict[str, Way] = {
    "raw, not healed": lambda raw: as_it_is(raw.unhealed, raw),
    "raw, healed": lambda raw: as_it_is(raw.healed[0], raw),
    "all stages": lambda raw: finished(raced(raw), raw),
    "without healing": lambda raw: finished(raw.unhealed, raw),
    "without the race": lambda raw: finished(raw.healed[0], raw),
    "one line at most": at_another_site(one_line=True, may_open=False),
    "no block behind the line that opens it": at_another_site(may_open=False),
    **{f"without {each.__name__}": without(each.__name__) for each in FILTERS},
    "always the best of 2": lambda raw: finished(raced(raw, 2, math.inf), raw),
    "always the best of 3": lambda raw: finished(raced(raw, 3, math.inf), raw),
    **{f"minConfidence {least}": confident(least) for least in (-2.0, -1.0, -0.5)},
}


def n_decoded(raw: Raw, model: Model) -> int:
    """Return the number of tokens after which the stop rule ends the first answer."""
    stop, text, heal = stop_rule(raw.cursor), b"", len(build_prompt(raw.window, model).heal)
    for number, token_id in enumerate(raw.healed[0].ids, 1):
        text += model.tokenizer.piece(token_id)
        if len(text) > heal and stop(text[heal:]) is not None:
            return number
    return len(raw.healed[0].ids)


def row(name: str, filled: Sequence[Filled], base: Sequence[Filled]) -> str:
    """Return a line of the table, with the difference of this way to all stages."""
    cells = []
    for kind in KINDS:
        mine, theirs = ([one for one in each if one.hole.kind == kind] for each in (filled, base))
        more = difference(theirs, mine)
        cells.append(f"{summary(mine)['exact']:.1%} ({more['exact']:+.1%} ± {more['exactStandardError']:.1%})")
    whole = summary(filled)
    shares = [f"{whole[key] or 0:.1%}" for key in ("similarity", "withheld", "addsNoError", "parsesAsBefore")]
    n_repeating = sum(one.repeats_next_line for one in filled)
    n_others = sum(mine.written != theirs.written for mine, theirs in zip(filled, base, strict=True))
    return f"| {name} | {' | '.join((*cells, *shares))} | {n_repeating} | {n_others} |"


def table(filled: dict[str, list[Filled]]) -> Iterable[str]:
    """Yield the lines of the table in Markdown."""
    heads = [*(f"exact, {kind}" for kind in KINDS), "similarity", "withheld", "no new error", "parses as before"]
    heads += ["repeat the next line", "other than with all stages"]
    yield f"| way | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for name, each in filled.items():
        yield row(name, each, filled["all stages"])


async def fill_all(
    holes: Sequence[Hole], settings: Settings, *, has_trees: bool
) -> tuple[dict[str, list[Filled]], int, int]:
    """Return the results of each way, and the tokens of the first answers with the stop rule and without it."""
    filled: dict[str, list[Filled]] = {name: [] for name in WAYS}
    n_stopped = n_all = 0
    async with opened(settings) as (prompts, engine):
        model = Model.of(prompts, engine)
        with watching(holes, len(holes), "filling") as watched:
            for hole in watched:
                raw = await generate(hole, model, settings, has_trees=has_trees)
                n_stopped, n_all = n_stopped + n_decoded(raw, model), n_all + len(raw.healed[0].ids)
                for name, way in WAYS.items():
                    filled[name].append(await fill(hole, answering(raw, way(raw))))
    return filled, n_stopped, n_all


def answering(raw: Raw, item: Item) -> Ask:
    """Return a function that answers with an item, or with nothing if that is empty."""

    async def ask(_snapshot: Snapshot, _cursor_byte: int, _around: WorkspaceContext) -> Completion:
        return Completion(raw.window.snapshot, raw.window.cursor_byte, (item,) if item.text else ())

    return ask


def main() -> None:
    """Run all ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--holes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="changes")
    parser.add_argument("--without-trees", action="store_true")
    arguments = parser.parse_args()
    settings = configured(None, arguments.changes)
    holes = cut_holes(read_sources(arguments.folders, settings, arguments.seed), arguments.holes, arguments.seed)
    filled, n_stopped, n_all = asyncio.run(fill_all(holes, settings, has_trees=not arguments.without_trees))
    print("\n".join(table(filled)))
    print(f"{len(holes)} holes; tokens decoded with the stop rule {n_stopped:,}, without {n_all:,}")


if __name__ == "__main__":
    main()
