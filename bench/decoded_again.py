"""Tokens that the local model decodes although it wrote them before: what an answer's own beginning could save.

`python bench/decoded_again.py TRACE [--model GGUF] [--as NAME] [--first N] [--edits N]`. Session and host are the real
ones, with one request after each edit; each prompt and its answers are compared with those of the request before, whose
cells are still there. *Logits*: the prompt ends inside the answer before, so its last token is evaluated
only for the logits behind it, which were there. *Again*: tokens decoded that the answer before has at the same place.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import define, field

from starcoder_lsp.cli.bench.served import SETTINGS
from starcoder_lsp.cli.bench.traces import document_name, edits_of, read_trace, text_before
from starcoder_lsp.documents.documents import Edit
from starcoder_lsp.engine.engine import GenerationRequest
from starcoder_lsp.engine.host.client import HostEngine
from starcoder_lsp.engine.loading import opened
from starcoder_lsp.engine.local.kv_cache import common_prefix_length
from starcoder_lsp.engine.stream import Token, TokenStream
from starcoder_lsp.prompting import Model
from starcoder_lsp.session.session import Session
from starcoder_lsp.settings_layers import SettingsLayer, read_settings


@define(eq=False)
class Asked:
    """The stream of one request to the engine, which notes what is read: the answers by number."""

    request: GenerationRequest
    stream: TokenStream
    n_edits: int
    """The edits before it: equal for the drafts of one answer."""
    answers: dict[int, list[int]] = field(factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __aiter__(self) -> Asked:
        return self

    async def __anext__(self) -> tuple[Token, ...]:
        tokens = await anext(self.stream)
        for token in tokens:
            self.answers.setdefault(token.answer, []).append(token.id)
        return tokens

    def texts(self) -> list[list[int]]:
        """Return prompt and answer, of each answer."""
        return [[*self.request.prompt.ids, *ids] for ids in self.answers.values()]


@define(eq=False)
class Recording:
    """An engine that records what is asked of another one."""

    engine: HostEngine
    asked: list[Asked] = field(factory=list)
    n_edits: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def generate(self, request: GenerationRequest) -> Asked:
        """Ask the engine."""
        self.asked.append(Asked(request, self.engine.generate(request), self.n_edits))
        return self.asked[-1]


async def play(arguments: argparse.Namespace) -> None:
    """Replay and print."""
    trace = read_trace(arguments.trace)
    layer = {**SETTINGS, "model": {"path": arguments.model}} if arguments.model else SETTINGS
    settings, _problems = read_settings([SettingsLayer("the benchmark", layer, trusted=True)])
    session = Session(settings=settings)
    session.texts.encoding = "utf-32"
    uri = f"file:///{quote(document_name(trace, arguments.name))}"
    n_answered = n_typing = 0
    async with opened(settings) as (prompts, engine):
        recording = Recording(engine)
        session.slot.model = Model.of(prompts, recording)  # type: ignore[arg-type]  # it passes on what it does not record
        session.documents.open(uri, "", 1, text_before(trace, arguments.first))
        for version, edit in enumerate(edits_of(trace, arguments.first, arguments.edits), 2):
            changes = [Edit(c.start_line, c.start_character, c.end_line, c.end_character, c.text) for c in edit.changes]
            session.documents.change(uri, version, changes)
            recording.n_edits = version
            completion = await session.answering.complete(uri, edit.line, edit.character, automatic=True)
            n_answered += completion is not None and bool(completion.text)
            n_typing += edit.is_typing
        session.stop()
        await asyncio.gather(*(asked.stream.ended() for asked in recording.asked), return_exceptions=True)
    report(recording.asked, arguments.edits, n_typing, n_answered)


def report(asked: list[Asked], n_edits: int, n_typing: int, n_answered: int) -> None:
    """Print what was asked, and what of it was there, apart for first and further drafts of an answer."""
    print(f"{n_edits} edits, {n_typing} typing, {n_answered} with ghost text")
    pairs = list(zip([None, *asked], asked, strict=False))
    firsts = [(before, each) for before, each in pairs if before is None or before.n_edits != each.n_edits]
    further = [(before, each) for before, each in pairs if before is not None and before.n_edits == each.n_edits]
    for name, group in (("first drafts", firsts), ("further drafts", further)):
        n_logits = n_again = n_same = n_decoded = n_evaluated = 0
        for before, each in group:
            ids, texts = each.request.prompt.ids, before.texts() if before is not None else []
            last_ids = before.request.prompt.ids if before is not None else ()
            n_evaluated += each.stream.usage.n_evaluated
            n_decoded += sum(map(len, each.answers.values()))
            n_same += ids == last_ids
            is_inside = any(common_prefix_length(text, ids) == len(ids) for text in texts)
            n_logits += is_inside and len(ids) > len(last_ids)
            for text in each.texts():
                n_again += max([0, *(common_prefix_length(text, other) - len(ids) for other in texts)])
        print(
            f"{name}: {len(group)} requests, {n_same} with the prompt of the one before; {n_evaluated} evaluated,"
            f" {n_decoded} decoded; logits were there at {n_logits}; decoded again {n_again}"
        )


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--model", default="")
    parser.add_argument("--as", dest="name")
    parser.add_argument("--first", type=int, default=2000)
    parser.add_argument("--edits", type=int, default=1000)
    asyncio.run(play(parser.parse_args()))


if __name__ == "__main__":
    main()
