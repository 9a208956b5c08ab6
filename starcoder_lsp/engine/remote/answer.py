"""Turn a remote answer into tokens: ids, or a text that is tokenized here. Heal if the engine cannot.

An answer that does not begin with the text to be healed yields no token, and no token is yielded twice.
"""

from __future__ import annotations

from attrs import define, field

from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.protocol import Part
from starcoder_lsp.engine.stream import StopReason, Token
from starcoder_lsp.engine.tokenizer import GgufTokenizer

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""The replacement that a server sends for half a character. The text ends before it."""


class HealError(Exception):
    """The answer does not begin with the text to be healed."""


@define(eq=False)
class AnswerReader:
    """Turns parts into tokens of answer 0. `n_left` more tokens are wanted.

    `heal` is the missing rest of the text that the answer must begin with, if that is checked here.
    """

    tokenizer: GgufTokenizer
    stop_ids: frozenset[int]
    n_left: int
    heal: bytes = b""
    is_over: bool = False
    """True if a token was made that ends the answer."""
    n_written: int = 0
    """Tokens that the engine has sent."""
    _held: list[Token] = field(factory=list)
    """Tokens that are held back, since all of them are inside the text to be healed."""

    def take(self, part: Part) -> tuple[Token, ...]:
        """Return the tokens of a part. Raises `BadAnswerError`, and `HealError` as soon as the heal does not fit."""
        ids = self._known(part.ids) if part.ids is not None else self._ids_of(part.text)
        n_written = self.n_written + len(ids)
        if part.n_written is not None and part.ids:
            n_new = part.n_written - self.n_written
            if n_new <= 0:
                return ()  # it came twice
            if n_new != len(ids):
                ids = self._with_held_ids(part.text, ids)
            n_written = part.n_written
        self.n_written = n_written
        tokens = self._healed([*self._tokens(ids, _spread(part, len(ids)))])
        if part.end and not self.is_over:
            tokens += self._end(part.end)
        return tuple(tokens)

    def _tokens(self, ids: tuple[int, ...], logprobs: tuple[float, ...]) -> list[Token]:
        tokens: list[Token] = []
        for token_id, logprob in zip(ids, logprobs, strict=True):
            if self.is_over:
                break
            self.n_left -= 1
            end = None if self.n_left > 0 else StopReason.MAX_TOKENS
            if token_id in self.stop_ids:
                end = StopReason.STOP_TOKEN
            self.is_over = end is not None
            tokens.append(Token(0, token_id, logprob, end))
        return tokens

    def _healed(self, tokens: list[Token]) -> list[Token]:
        """Hold tokens back until they cover the text to be healed. Raises `HealError`."""
        if not self.heal:
            return tokens
        self._held += tokens
        written = b"".join(self.tokenizer.piece(token.id) for token in self._held)
        if not (written.startswith(self.heal) or self.heal.startswith(written)) or (
            self.is_over and len(written) < len(self.heal)
        ):
            raise HealError
        if len(written) < len(self.heal):
            return []
        held, self._held, self.heal = self._held, [], b""
        return held

    def _end(self, end: str) -> list[Token]:
        """Return the token that ends the answer; it stands for no text."""
        if self.heal:
            raise HealError
        self.is_over = True
        reason = StopReason.MAX_TOKENS if end == "length" else StopReason.STOP_TOKEN
        return [Token(0, min(self.stop_ids), 0.0, reason)]

    def _known(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Return ids of the engine's own. Raises `BadAnswerError` if the vocabulary does not have them."""
        if ids and max(ids) >= len(self.tokenizer.pieces):
            message = f"the engine sent the token {max(ids)}, which engine.vocabulary does not have"
            raise BadAnswerError(message)
        return ids

    def _with_held_ids(self, text: str, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Return ids for the text of a part with more tokens than `ids`. Raises `BadAnswerError` if it has no more."""
        if len(text.encode("utf-8", "surrogatepass")) <= sum(len(self.tokenizer.piece(each)) for each in ids):
            message = "a part of the answer got lost on the way"
            raise BadAnswerError(message)
        return self._ids_of(text)

    def _ids_of(self, text: str) -> tuple[int, ...]:
        """Tokenize a text. It ends before a marker that is spelled in it, or before half a character."""
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # JSON can spell a half, too
        markers = [self.tokenizer.spelling(token_id).decode() for token_id in self.stop_ids]
        ends = [at for marker in (*markers, UNKNOWN) if (at := text.find(marker)) >= 0]
        if not ends:
            return self.tokenizer.encode(text.encode())
        return (*self.tokenizer.encode(text[: min(ends)].encode()), min(self.stop_ids))


def _spread(part: Part, n_ids: int) -> tuple[float, ...]:
    """Return a log-probability for each id: the engine's, or the same sum for ids that are not its own."""
    if len(part.logprobs) == n_ids:
        return part.logprobs
    return (sum(part.logprobs) / n_ids,) * n_ids if n_ids else ()
