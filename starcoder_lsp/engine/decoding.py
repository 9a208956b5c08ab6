"""Decode and sample behind an evaluated prompt: one answer, or several different ones side by side in one batch.

Several answers share the prompt's cells. Each has a sequence of its own from the first choice on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from attrs import define, field

from starcoder_lsp.engine.backend import Backend, Logits
from starcoder_lsp.engine.engine import Cancelled, GenerationRequest, Sampling, StopRule, Written
from starcoder_lsp.engine.kv_cache import SequenceLedger
from starcoder_lsp.engine.local.pieces import TokenIds

N_JUDGED_TOKENS = 8
"""By the likelihood of so many first tokens it is judged whether an answer is worth going on with."""

Choice = tuple[int, float]
"""A token's id and its natural-log probability under the model, before temperature."""


@define
class Answer:
    """One answer as it grows, in a sequence of its own."""

    sequence: int
    heal: bytes
    """What is still to be written again of the text before the cursor."""
    rng: np.random.Generator | None
    ids: list[int] = field(factory=list)
    logprobs: list[float] = field(factory=list)
    text: bytes = b""
    stop_reason: str = ""
    first_line_logprob: float = 0.0

    @property
    def has_first_line(self) -> bool:
        """Whether its first line will not grow any more."""
        return bool(self.stop_reason) or b"\n" in self.text

    def add(self, choice: Choice, piece: bytes) -> None:
        """Take a choice and the bytes that it stands for."""
        token_id, logprob = choice
        self.first_line_logprob += 0.0 if b"\n" in self.text else logprob
        self.ids.append(token_id)
        self.logprobs.append(logprob)
        self.heal, piece = self.heal[len(piece) :], piece[len(self.heal) :]
        self.text += piece


def choices(logits: Logits, n: int, allowed: TokenIds | None = None) -> list[Choice]:
    """The `n` likeliest tokens, the likeliest first, among `allowed` if that is given."""
    candidates, log_total = _candidates(logits, allowed)
    best = [int(candidates.argmax())] if n == 1 else np.argsort(-candidates, kind="stable")[:n].tolist()
    return [(index if allowed is None else int(allowed[index]), float(candidates[index]) - log_total) for index in best]


def sample(
    logits: Logits, sampling: Sampling, rng: np.random.Generator | None, allowed: TokenIds | None = None
) -> Choice:
    """Choose the next token, among `allowed` if that is given; with a temperature above 0 by `rng`."""
    if sampling.temperature == 0 or rng is None:
        return choices(logits, 1, allowed)[0]
    candidates, log_total = _candidates(logits, allowed)
    weights = np.exp((candidates - candidates.max()).astype(np.float64) / sampling.temperature)
    index = int(rng.choice(len(weights), p=weights / weights.sum()))
    return index if allowed is None else int(allowed[index]), float(candidates[index]) - log_total


def _candidates(logits: Logits, allowed: TokenIds | None) -> tuple[Logits, float]:
    """The logits to choose from, and the logarithm of the sum over all of them, both less the largest."""
    shifted = logits - logits.max()
    return shifted if allowed is None else shifted[allowed], float(np.log(np.exp(shifted).sum()))


def confidence(logprobs: Sequence[float]) -> float:
    """The mean natural logarithm of the first tokens' probabilities; 0 if there are none."""
    judged = logprobs[:N_JUDGED_TOKENS]
    return sum(judged) / len(judged) if judged else 0.0


def write(
    backend: Backend,
    ledger: SequenceLedger,
    request: GenerationRequest,
    deadline_s: float,
    stop: StopRule,
    cancelled: Cancelled,
) -> tuple[Written, ...]:
    """Decode and sample until something says stop, for each of `request.n_answers`.

    The first choices are among the tokens that agree with the prompt's `heal`. Without a temperature the answers begin
    with the likeliest first tokens, one each; with one, each draws for itself. The first answer's cells stay in the
    ledger's sequence, the others' are given up. A last choice is not evaluated: its logits are not asked for.
    """
    answers = _begin(backend, ledger, request)
    is_race = len(answers) > request.n_answers
    n_room = (backend.n_context - len(request.prompt.ids)) // len(answers)
    try:
        while growing := [answer for answer in answers if not answer.stop_reason]:
            _judge(growing, request, n_room, deadline_s, stop, cancelled)
            if is_race and len(answers) > 1:
                answers = _race(backend, ledger, request, answers)
            growing = [answer for answer in answers if not answer.stop_reason]
            if growing:
                _step(backend, ledger, request, growing)
    finally:
        for sequence in range(1, backend.n_sequences):
            backend.truncate(sequence, 0)
    return tuple(
        Written(one.text, tuple(one.ids), tuple(one.logprobs), one.stop_reason, one.first_line_logprob)
        for one in answers
    )


def _begin(backend: Backend, ledger: SequenceLedger, request: GenerationRequest) -> list[Answer]:
    """The answers with their first tokens: as many as are asked for, or two that begin nearly as well."""
    sampling, heal = request.sampling, request.prompt.heal
    allowed = backend.agreeing(heal) if heal else None
    n_answers = max(1, min(request.n_answers, backend.n_sequences))
    may_race = n_answers == 1 < backend.n_sequences and request.hesitation > 0 and sampling.temperature == 0
    firsts = choices(backend.logits(), 2 if may_race else n_answers, allowed)
    if may_race:
        is_open = firsts[0][1] - firsts[-1][1] <= request.hesitation
        is_text = not any(token_id in request.prompt.stop_ids for token_id, _ in firsts)
        firsts = firsts if is_open and is_text else firsts[:1]
    answers = []
    for number, first in enumerate(firsts):
        rng = None
        choice = first
        if sampling.temperature > 0:
            rng = np.random.default_rng([sampling.seed, number] if number else sampling.seed)
            choice = sample(backend.logits(), sampling, rng, allowed)
        answers.append(Answer(ledger.sequence + number, heal, rng))
        _take(backend, request, answers[-1], choice)
        if number:
            backend.branch(ledger.sequence, answers[-1].sequence)
    return answers


def _race(
    backend: Backend, ledger: SequenceLedger, request: GenerationRequest, answers: Sequence[Answer]
) -> list[Answer]:
    """The answer that has won, or both as long as it is open: what is behind a whole line cannot catch up."""
    best = max(answers, key=lambda answer: (answer.first_line_logprob, -answer.sequence))
    if not best.has_first_line:
        return list(answers)
    if best.sequence != ledger.sequence:
        backend.truncate(ledger.sequence, 0)
        backend.branch(best.sequence, ledger.sequence)
        ledger.truncate(len(request.prompt.ids))
        ledger.extend(best.ids[: backend.n_cells(best.sequence) - len(request.prompt.ids)])
    for answer in answers:
        if answer.sequence != ledger.sequence:
            backend.truncate(answer.sequence, 0)
    best.sequence = ledger.sequence
    return [best]


def _take(backend: Backend, request: GenerationRequest, answer: Answer, choice: Choice) -> None:
    if choice[0] in request.prompt.stop_ids:
        answer.stop_reason = "stop_token"
        answer.first_line_logprob += 0.0 if b"\n" in answer.text else choice[1]
    else:
        answer.add(choice, backend.piece(choice[0]))


def _judge(
    growing: Sequence[Answer],
    request: GenerationRequest,
    n_room: int,
    deadline_s: float,
    stop: StopRule,
    cancelled: Cancelled,
) -> None:
    """Find out which answers end here, and why."""
    is_cancelled, is_late = cancelled(), time.perf_counter() > deadline_s
    for answer in growing:
        n_tokens = len(answer.ids)
        reason = stop(answer.text) if answer.text else None
        if reason is None and n_tokens == N_JUDGED_TOKENS and confidence(answer.logprobs) < request.min_confidence:
            reason = "low_confidence"
        if reason is None and is_cancelled:
            reason = "cancelled"
        if reason is None and is_late:
            reason = "timeout"
        if reason is None and n_tokens >= min(request.max_new_tokens, n_room):
            reason = "max_tokens"
        answer.stop_reason = reason or ""


def _step(backend: Backend, ledger: SequenceLedger, request: GenerationRequest, growing: Sequence[Answer]) -> None:
    """Evaluate the last token of each answer, and choose the next."""
    n_prompt = len(request.prompt.ids)
    backend.step([(answer.sequence, answer.ids[-1], n_prompt + len(answer.ids) - 1) for answer in growing])
    if growing[0].sequence == ledger.sequence:
        ledger.extend(growing[0].ids[-1:])
    for row, answer in enumerate(growing):
        allowed = backend.agreeing(answer.heal) if answer.heal else None
        _take(backend, request, answer, sample(backend.logits(row), request.sampling, answer.rng, allowed))
