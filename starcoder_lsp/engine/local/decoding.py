"""Sample the answers to one prompt, each in its own sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from attrs import define, field, frozen

from starcoder_lsp.engine.engine import Sampling
from starcoder_lsp.engine.local.backend import Backend, Logits
from starcoder_lsp.engine.local.pieces import TokenIds
from starcoder_lsp.engine.stream import StopReason, Token

Choice = tuple[int, float]
"""A token's id and its natural-log probability under the model, before temperature."""


@frozen
class Decoding:
    """The parts of a `GenerationRequest` that the engine needs."""

    ids: tuple[int, ...]
    stop_ids: frozenset[int]
    heal: bytes
    max_new_tokens: int
    n_answers: int = 1
    beam_margin_nats: float = 0.0
    sampling: Sampling = field(factory=Sampling)
    avoid: bytes = b""
    """See `Prompt.avoid`."""

    @property
    def n_branches(self) -> int:
        """The most sequences that it uses beside the prompt's."""
        return 1 if self.n_answers == 1 and self.beam_margin_nats > 0 else max(0, self.n_answers - 1)


@define(eq=False)
class Answer:
    """One answer as it grows. `end` is the reason why no further token is decoded."""

    number: int
    sequence: int
    heal: bytes
    """The rest of the text before the cursor that the answer must begin with."""
    avoid: bytes
    """Bytes that no token may have until the answer has more than `heal`."""
    rng: np.random.Generator | None
    max_tokens: int
    ids: list[int] = field(factory=list)
    end: StopReason | None = None


def choices(logits: Logits, n: int, allowed: TokenIds | None = None) -> list[Choice]:
    """Return the `n` likeliest tokens, the likeliest first, among `allowed` if that is given."""
    if n == 1 and allowed is None:  # each token of an answer: without two passes over all logits
        index = int(logits.argmax())
        return [(index, -float(np.log(np.exp(logits - logits[index]).sum())))]
    candidates, log_total = _candidates(logits, allowed)
    best = [int(candidates.argmax())] if n == 1 else np.argsort(-candidates, kind="stable")[:n].tolist()
    return [(index if allowed is None else int(allowed[index]), float(candidates[index]) - log_total) for index in best]


def sample(
    logits: Logits, sampling: Sampling, rng: np.random.Generator | None, allowed: TokenIds | None = None
) -> Choice:
    """Choose the next token, among `allowed` if that is given; with a temperature above 0 draw from `rng`."""
    if sampling.temperature == 0 or rng is None:
        return choices(logits, 1, allowed)[0]
    candidates, log_total = _candidates(logits, allowed)
    weights = np.exp((candidates - candidates.max()).astype(np.float64) / sampling.temperature)
    index = int(rng.choice(len(weights), p=weights / weights.sum()))
    return index if allowed is None else int(allowed[index]), float(candidates[index]) - log_total


def _allowed(backend: Backend, heal: bytes, avoid: bytes) -> TokenIds | None:
    """Return the ids to choose among, or `None` for all of them."""
    if not avoid:
        return backend.agreeing(heal) if heal else None
    others = backend.without(avoid)
    both = np.intersect1d(backend.agreeing(heal), others, assume_unique=True) if heal else others
    return both if len(both) else backend.agreeing(heal)  # a text to heal that has one of the bytes comes first


def _candidates(logits: Logits, allowed: TokenIds | None) -> tuple[Logits, float]:
    """Return the logits to choose from, and the log-sum-exp of all of them, both less the largest logit."""
    shifted = logits - logits.max()
    return shifted if allowed is None else shifted[allowed], float(np.log(np.exp(shifted).sum()))


def begin(
    backend: Backend, decoding: Decoding, sequences: Sequence[int], n_room: int, logits: Logits
) -> tuple[list[Answer], tuple[Token, ...]]:
    """Choose the first tokens behind a prompt from the `logits` there. The first of `sequences` holds it.

    The other sequences are empty. Only tokens that agree with the prompt's `heal` and `avoid` are chosen. Without a
    temperature the answers begin with the likeliest first tokens, one each; with one, each draws its own. One answer
    may become a beam of two. All answers together have at most `n_room` tokens.
    """
    sampling, heal, avoid = decoding.sampling, decoding.heal, decoding.avoid
    allowed = _allowed(backend, heal, avoid)
    n_answers = min(decoding.n_answers, len(sequences))
    may_be_beam = n_answers == 1 < len(sequences) and decoding.beam_margin_nats > 0 and sampling.temperature == 0
    firsts = choices(logits, 2 if may_be_beam else n_answers, allowed)
    if may_be_beam:
        is_close = firsts[0][1] - firsts[-1][1] <= decoding.beam_margin_nats
        is_text = not any(token_id in decoding.stop_ids for token_id, _ in firsts)
        firsts = firsts if is_close and is_text else firsts[:1]
    max_tokens = min(decoding.max_new_tokens, n_room // len(firsts))
    answers, tokens = [], []
    for number, first in enumerate(firsts):
        rng, choice = None, first
        if sampling.temperature > 0:
            rng = np.random.default_rng([sampling.seed, number] if number else sampling.seed)
            choice = sample(logits, sampling, rng, allowed)
        answers.append(Answer(number, sequences[number], heal, avoid, rng, max_tokens))
        tokens.append(_append(backend, decoding, answers[-1], choice))
        if number:
            backend.branch(sequences[0], sequences[number])
    return answers, tuple(tokens)


def inputs(decoding: Decoding, answers: Iterable[Answer]) -> list[tuple[int, int, int]]:
    """Return the input of `Backend.step` for the next choices: `(sequence, id, position)` of each answer."""
    return [(answer.sequence, answer.ids[-1], len(decoding.ids) + len(answer.ids) - 1) for answer in answers]


def choose_next(backend: Backend, decoding: Decoding, answers: Sequence[Answer], first_row: int) -> tuple[Token, ...]:
    """Choose the next token of each answer. Their logits are the step's rows from `first_row` on."""
    tokens = []
    for row, answer in enumerate(answers, first_row):
        allowed = _allowed(backend, answer.heal, answer.avoid)
        tokens.append(
            _append(backend, decoding, answer, sample(backend.logits(row), decoding.sampling, answer.rng, allowed))
        )
    return tuple(tokens)


def _append(backend: Backend, decoding: Decoding, answer: Answer, choice: Choice) -> Token:
    token_id, logprob = choice
    if token_id in decoding.stop_ids:
        answer.end = StopReason.STOP_TOKEN
    else:
        answer.ids.append(token_id)
        piece = backend.pieces[token_id]
        answer.avoid = answer.avoid if len(piece) <= len(answer.heal) else b""
        answer.heal = answer.heal[len(piece) :]
        if len(answer.ids) >= answer.max_tokens:
            answer.end = StopReason.MAX_TOKENS
    return Token(answer.number, token_id, logprob, answer.end)
