"""The generation loop: match what is cached, evaluate the rest of the prompt, then decode and sample until a stop.

Knows the ledger and the backend's five operations; knows nothing of documents, languages or prompts' meaning.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from starcoder_lsp.engine.engine import Cancelled, EngineError, Generation, GenerationRequest, Sampling, StopRule
from starcoder_lsp.engine.kv_cache import SequenceLedger
from starcoder_lsp.engine.tokens import TokenIds

N_SLICE = 64
"""Prompt tokens evaluated between two looks at the cancel flag: about a second of a 3B model on two CPU cores."""

Logits = NDArray[np.float32]


class Backend(Protocol):
    """What the loop asks of a context. `llama.py` is one; tests may bring another."""

    n_context: int
    evaluation_ms: float
    """Milliseconds spent in `decode` since the start."""

    def decode(self, sequence: int, ids: Sequence[int], first_position: int, cancelled: Cancelled) -> bool:
        """Evaluate `ids` at `first_position` and after; false if that was broken off because of `cancelled`.

        Raises `EngineError` on failure. Then, and when broken off, some of the cells may be there.
        """

    def logits(self) -> Logits:
        """Logits, shape `(n_vocab,)`, behind the last evaluated token; valid until the next `decode`."""

    def truncate(self, sequence: int, n_tokens: int) -> bool:
        """Keep only the first `n_tokens` cells of the sequence; false if the context could not."""

    def n_cells(self, sequence: int) -> int:
        """How many cells the context holds for the sequence."""

    def piece(self, token_id: int) -> bytes:
        """The bytes that a token stands for."""

    def agreeing(self, text: bytes) -> TokenIds:
        """Ids of the tokens that begin with `text` or that `text` begins with; never empty for a byte-level BPE."""


@frozen
class Sampled:
    """One choice: the id and its natural-log probability under the model (before temperature)."""

    token_id: int
    logprob: float


@frozen
class Written:
    """What was decoded behind a prompt: the text without what was healed, the choices, and why it ended."""

    text: bytes
    chosen: tuple[Sampled, ...]
    stop_reason: str


def sample(
    logits: Logits, sampling: Sampling, rng: np.random.Generator | None, allowed: TokenIds | None = None
) -> Sampled:
    """Choose the next token, among `allowed` if that is given; with a temperature above 0 by `rng`."""
    shifted = logits - logits.max()
    log_total = float(np.log(np.exp(shifted).sum()))
    candidates = shifted if allowed is None else shifted[allowed]
    index = int(candidates.argmax())
    if sampling.temperature > 0 and rng is not None:
        weights = np.exp((candidates - candidates[index]).astype(np.float64) / sampling.temperature)
        index = int(rng.choice(len(weights), p=weights / weights.sum()))
    return Sampled(index if allowed is None else int(allowed[index]), float(candidates[index]) - log_total)


def prefill(backend: Backend, ledger: SequenceLedger, ids: Sequence[int], cancelled: Cancelled) -> tuple[int, int]:
    """Bring the sequence to the prompt `ids`; return how many of them were there and how many were evaluated.

    Fewer than all after a cancel. If a decode fails, it is tried once more with an empty context: what the cells of
    other prompts have filled or broken must cost time only.
    """
    n_matched = ledger.match(ids)
    if n_matched < len(ledger.ids):
        rewind(backend, ledger, n_matched)
    n_reused = len(ledger.ids)
    try:
        return n_reused, evaluate(backend, ledger, ids[n_reused:], cancelled)
    except EngineError:
        rewind(backend, ledger, 0)
        return 0, evaluate(backend, ledger, ids, cancelled)


def evaluate(backend: Backend, ledger: SequenceLedger, ids: Sequence[int], cancelled: Cancelled) -> int:
    """Evaluate `ids` behind the ledger's cells, slice by slice; return how many were evaluated before a cancel.

    A decode that fails or is broken off may leave finished micro-batches behind; ledger and context are brought to
    agree before anything goes on.
    """
    n_done = 0
    while n_done < len(ids):
        if cancelled():
            break
        piece = ids[n_done : n_done + N_SLICE]
        is_done = False
        try:
            is_done = backend.decode(ledger.sequence, piece, len(ledger.ids), cancelled)
        finally:
            if not is_done:
                rewind(backend, ledger, len(ledger.ids))
        if not is_done:
            break
        ledger.extend(piece)
        n_done += len(piece)
    return n_done


def rewind(backend: Backend, ledger: SequenceLedger, n_tokens: int) -> None:
    """Bring ledger and context to the first `n_tokens` cells, or to none where the context cannot."""
    if not backend.truncate(ledger.sequence, n_tokens) or backend.n_cells(ledger.sequence) != n_tokens:
        backend.truncate(ledger.sequence, 0)
        n_tokens = 0
    ledger.truncate(n_tokens)


def generate(
    backend: Backend, ledger: SequenceLedger, request: GenerationRequest, stop: StopRule, cancelled: Cancelled
) -> Generation:
    """Answer `request` on the ledger's sequence.

    Raises `EngineError` if the prompt leaves no room for an answer or a decode fails. The ledger equals the
    context's cells on every way out.
    """
    prompt_ids = request.prompt.ids
    room = backend.n_context - len(prompt_ids)
    if room < 1 or not prompt_ids:
        message = f"a prompt of {len(prompt_ids)} tokens leaves no room in a context of {backend.n_context}"
        raise EngineError(message)
    started, evaluation_ms = time.perf_counter(), backend.evaluation_ms
    n_reused, n_evaluated = prefill(backend, ledger, prompt_ids, cancelled)
    prefilled = time.perf_counter()

    if n_reused + n_evaluated < len(prompt_ids):
        written = Written(b"", (), "cancelled")
    else:
        written = write(backend, ledger, request, started + request.timeout_ms / 1000, stop, cancelled)
    return Generation(
        text=written.text,
        ids=tuple(choice.token_id for choice in written.chosen),
        logprobs=tuple(choice.logprob for choice in written.chosen),
        stop_reason=written.stop_reason,
        n_prompt=len(prompt_ids),
        n_reused=n_reused,
        n_evaluated=n_evaluated,
        prefill_ms=(prefilled - started) * 1000,
        decode_ms=(time.perf_counter() - prefilled) * 1000,
        evaluation_ms=backend.evaluation_ms - evaluation_ms,
    )


def write(
    backend: Backend,
    ledger: SequenceLedger,
    request: GenerationRequest,
    deadline_s: float,
    stop: StopRule,
    cancelled: Cancelled,
) -> Written:
    """Decode and sample behind an evaluated prompt until something says stop.

    The first choices are among the tokens that agree with the prompt's `heal`. The last choice is not evaluated: its
    logits are not asked for.
    """
    rng = np.random.default_rng(request.sampling.seed) if request.sampling.temperature > 0 else None
    text, heal = bytearray(), request.prompt.heal
    chosen: list[Sampled] = []
    reason: str | None = None
    while reason is None:
        if len(chosen) == min(request.max_new_tokens, backend.n_context - len(request.prompt.ids)):
            reason = "max_tokens"
            break
        if chosen:
            evaluate(backend, ledger, [chosen[-1].token_id], lambda: False)
        choice = sample(backend.logits(), request.sampling, rng, backend.agreeing(heal) if heal else None)
        if choice.token_id in request.prompt.stop_ids:
            reason = "stop_token"
            break
        chosen.append(choice)
        piece = backend.piece(choice.token_id)
        heal, piece = heal[len(piece) :], piece[len(heal) :]
        text += piece
        reason = stop(bytes(text)) if text else None
        if reason is None and cancelled():
            reason = "cancelled"
        if reason is None and time.perf_counter() > deadline_s:
            reason = "timeout"
    return Written(bytes(text), tuple(chosen), reason)
