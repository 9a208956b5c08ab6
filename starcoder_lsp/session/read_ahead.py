"""Read documents ahead of need: compile the queries of their languages, parse them, and tokenize their lines.

Compiling the three queries of a language takes up to 250 ms (C++), tokenizing a file of 10,000 lines 200 ms. Each step
is a piece of work of its own on the background thread, and of all documents one step at a time waits for the thread. So
a request that comes meanwhile waits for one step at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import get_args

from attrs import define, field

from starcoder_lsp.background import in_background
from starcoder_lsp.context.caching_tokenizer import CachingTokenizer
from starcoder_lsp.context.window import normalized
from starcoder_lsp.documents.documents import Snapshot, language_of
from starcoder_lsp.documents.languages import QueryName, load_query
from starcoder_lsp.prompting import PromptBuilder, decline_reason
from starcoder_lsp.settings import Settings

MAX_BYTES = 1 << 20
"""The most bytes of a document that are tokenized ahead, from its beginning. Not measured."""


@define(eq=False)
class ReadAhead:
    """Reads each document once for a tokenizer. On the event loop."""

    _read: dict[str, CachingTokenizer | None] = field(factory=dict)
    """The tokenizer that each document was read for, by URI."""
    _tasks: set[asyncio.Task[None]] = field(factory=set)
    """Running tasks; the event loop itself holds no reference to them."""
    _step: asyncio.Lock = field(factory=asyncio.Lock)

    def read(self, snapshot: Snapshot, settings: Settings, model: PromptBuilder | None) -> None:
        """Begin to read a document, unless that was done for this model; without a model its tokens are not read."""
        uri, tokenizer = snapshot.uri, None if model is None else model.tokenizer
        if uri in self._read and (tokenizer is None or self._read[uri] is tokenizer):
            return
        if decline_reason(snapshot, settings):
            return
        self._read[uri] = tokenizer
        task = asyncio.ensure_future(self._steps(snapshot, tokenizer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, uri: str) -> None:
        """Forget a closed document; reading it ends."""
        self._read.pop(uri, None)

    def stop(self) -> None:
        """End all reading."""
        self._read.clear()

    async def settled(self) -> None:
        """Wait until everything is read."""
        await asyncio.gather(*self._tasks)

    async def _steps(self, snapshot: Snapshot, tokenizer: CachingTokenizer | None) -> None:
        steps = _steps_of(snapshot, tokenizer)
        while self._read.get(snapshot.uri, steps) is tokenizer:
            async with self._step:
                if await in_background(next, steps, steps) is steps:
                    return


def _steps_of(snapshot: Snapshot, tokenizer: CachingTokenizer | None) -> Iterator[None]:
    """Do a step, and yield. On the background thread."""
    language = language_of(snapshot)
    for name in get_args(QueryName):
        load_query(language, name)
        yield
    if snapshot.syntax is not None:
        snapshot.syntax.tree  # noqa: B018  parses
        yield
    if tokenizer is not None:
        yield from tokenizer.learn(normalized(snapshot.text.data[:MAX_BYTES]))
