"""Engines that write a given text in place of a model's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from attrs import define, field

from starcoder_lsp.engine.engine import Cancellation, Capabilities, GenerationRequest, Prefilled, Prompt
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.stream import Token, TokenStream, Usage

END_OF_TEXT = 0
"""The id of the marker that ends a text."""


@define(eq=False)
class WatchedStream(TokenStream):
    """A stream that counts the steps read. `on_read` is called when the reader requests the next one."""

    on_read: Callable[[], None] = field(kw_only=True)
    n_read: int = 0
    is_wanted: bool = True

    async def __anext__(self) -> tuple[Token, ...]:
        self.on_read()
        tokens = await super().__anext__()
        self.n_read += 1
        return tokens


@define(eq=False)
class Scripted:
    """Generates the healed text and `text` in tokens, all at once.

    The answer ends with `end`; if that is empty, when the stream is closed. The whole prompt counts as evaluated.
    """

    prompts: PromptModel
    text: bytes = b""
    end: str = "stop_token"
    prefill_speed: float = 0.0
    capabilities: Capabilities = field(factory=Capabilities)
    n_gpu_layers: int = 0
    cache: None = None
    requests: list[GenerationRequest] = field(factory=list)
    begun: asyncio.Event = field(factory=asyncio.Event)
    """Set when the first generation has begun."""

    def generate(self, request: GenerationRequest) -> TokenStream:
        self.requests.append(request)
        usage = Usage(0, len(request.prompt.ids))
        stream = TokenStream(lambda _answer: None, lambda _kept_answer: stream.end(usage))
        encode = self.prompts.tokenizer.encode
        for token_id in (*encode(request.prompt.heal), *encode(self.text)):
            stream.feed((Token(0, token_id, 0.0),), usage)
        if self.end == "stop_token":
            stream.feed((Token(0, END_OF_TEXT, 0.0, self.end),), usage)
        self.begun.set()
        return stream

    async def prefill(self, _document: str, prompt: Prompt, _cancellation: Cancellation) -> Prefilled:
        return Prefilled(len(prompt.ids), is_complete=True)

    async def close(self) -> None: ...


@define(eq=False)
class ManualEngine:
    """Generates `text` letter by letter under the test's control, and records how each generation ended.

    All answers to a request are equal; `rivals` are the texts of further answers.
    """

    prompts: PromptModel
    text: str
    rivals: Sequence[str] = ()
    prefill_speed: float = 0.0
    capabilities: Capabilities = field(factory=Capabilities)
    n_gpu_layers: int = 0
    cache: None = None
    requests: list[GenerationRequest] = field(factory=list)
    ends: list[str] = field(factory=list)
    """`"stop_token"` for each generation that was read to its end, `"cancelled"` for one that was closed earlier."""
    begun: asyncio.Event = field(factory=asyncio.Event)
    ended: asyncio.Event = field(factory=asyncio.Event)
    _steps: list[tuple[Token, ...]] = field(factory=list)
    """The remaining steps of the newest generation."""
    _stream: WatchedStream | None = None
    _is_free: bool = False
    _read: asyncio.Event = field(factory=asyncio.Event)

    @property
    def n_begun(self) -> int:
        return len(self.requests)

    def generate(self, request: GenerationRequest) -> TokenStream:
        self.requests.append(request)
        usage = Usage(0, len(request.prompt.ids))
        steps = self._plan(request)
        n_steps = len(steps)

        def close(_kept_answer: int) -> None:
            self.ends.append("stop_token" if stream.n_read == n_steps else "cancelled")
            if self._stream is stream:
                self._stream = None
            self._read.set()
            self.ended.set()
            stream.end(usage)

        stream = WatchedStream(lambda _answer: None, close, on_read=self._read.set)
        stream.usage = usage
        self._stream, self._steps = stream, steps
        self.begun.set()
        if self._is_free:
            self.write_on()
        return stream

    def _plan(self, request: GenerationRequest) -> list[tuple[Token, ...]]:
        """Return the tokens of each step: the first one heals, the last one ends."""
        texts = [*[self.text] * request.n_answers, *self.rivals]
        healed = self.prompts.tokenizer.encode(request.prompt.heal)
        steps = []
        for n in range(max(map(len, texts))):
            letters = [(answer, text[n : n + 1].encode()) for answer, text in enumerate(texts)]
            ids = [(answer, self.prompts.tokenizer.encode(letter)) for answer, letter in letters]
            steps.append(
                tuple(Token(answer, i, 0.0) for answer, row in ids for i in ((healed if n == 0 else ()) + row))
            )
        return [*steps, tuple(Token(answer, END_OF_TEXT, 0.0, "stop_token") for answer in range(len(texts)))]

    async def write(self, n: int) -> None:
        """Write `n` letters and wait until they are read."""
        await self.begun.wait()
        for _ in range(n):
            if self._stream is not None:
                self._read.clear()
                self._stream.feed(self._steps.pop(0), self._stream.usage)
                await self._read.wait()

    def write_on(self) -> None:
        """Write the rest, and all further generations at once."""
        self._is_free = True
        while self._stream is not None and self._steps:
            self._stream.feed(self._steps.pop(0), self._stream.usage)

    async def prefill(self, _document: str, prompt: Prompt, _cancellation: Cancellation) -> Prefilled:
        return Prefilled(len(prompt.ids), is_complete=True)

    async def close(self) -> None: ...
