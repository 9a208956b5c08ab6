"""The generation loop: match what is cached, evaluate the rest of the prompt, then let `decoding.py` write.

Knows the ledger and the backend's operations; knows nothing of documents, languages or prompts' meaning.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from starcoder_lsp.engine.backend import Backend
from starcoder_lsp.engine.decoding import write
from starcoder_lsp.engine.engine import Cancelled, EngineError, Generation, GenerationRequest, StopRule, Written
from starcoder_lsp.engine.kv_cache import SequenceLedger

N_SLICE = 64
"""Prompt tokens evaluated between two looks at the cancel flag: about a second of a 3B model on two CPU cores."""


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

    written: tuple[Written, ...] = (Written(b"", (), (), "cancelled"),)
    if n_reused + n_evaluated == len(prompt_ids):
        try:
            written = write(backend, ledger, request, started + request.timeout_ms / 1000, stop, cancelled)
        except BaseException:
            rewind(backend, ledger, len(ledger.ids))
            raise
    return Generation(
        written=written,
        n_prompt=len(prompt_ids),
        n_reused=n_reused,
        n_evaluated=n_evaluated,
        prefill_ms=(prefilled - started) * 1000,
        decode_ms=(time.perf_counter() - prefilled) * 1000,
        evaluation_ms=backend.evaluation_ms - evaluation_ms,
    )
