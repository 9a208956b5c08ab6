"""A StarCoder model in this process, through llama.cpp's low-level API. The only importer of `llama_cpp`.

Not the high-level `Llama` class: its infilling uses one id for all three markers, its detokenizer cuts pieces longer
than 32 bytes (212 of StarCoder2's tokens are), and it hides how many sequences a context has.

A failed assertion inside llama.cpp ends the process, so a file is checked by `model_file.py` before it comes here.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from starcoder_lsp.engine.backend import Logits
from starcoder_lsp.engine.engine import (
    CachedDocument,
    Cancelled,
    EngineError,
    Generation,
    GenerationRequest,
    ModelInfo,
    Prefilled,
    Prompt,
    StopRule,
)
from starcoder_lsp.engine.generation import N_SLICE, generate, prefill
from starcoder_lsp.engine.kv_cache import SequenceLedger
from starcoder_lsp.engine.local.pieces import PieceIndex
from starcoder_lsp.engine.model_file import ModelFile, check_model_file
from starcoder_lsp.engine.parking import ParkedStates, put_away, resume
from starcoder_lsp.engine.state_files import DiskSpace, StateFiles, model_key

N_LONGEST_PIECE_BYTES = 4096
ERROR_LEVEL = 3
N_BYTES_PER_THREAD = 32 * 1024 * 1024
N_SEQUENCES = 8
"""Answers to one prompt side by side, as many as `completion.maxItems` allows."""
ABORTED = 2
"""What `llama_decode` answers when the abort callback broke it off (llama.h)."""
NEVER = llama_cpp.ggml_abort_callback()
"""No abort callback: for one token, asking before each node of the graph would cost up to a tenth of its time."""
N_LEAST_MEASURED = N_SLICE // 2
"""A batch of fewer tokens says little about the speed of a prefill."""
SPEED_WEIGHT = 0.1
"""Weight of the newest slice in the measured speed: some 600 tokens are what it remembers."""
Progress = Callable[[float], None]


class _Log:
    """llama.cpp's log, of which only the last error is kept: standard error belongs to the editor's log."""

    def __init__(self) -> None:
        self.last_error = ""

        @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
        def receive(level: int, text: bytes, _data: object) -> None:
            if level == ERROR_LEVEL:
                self.last_error = text.decode("utf-8", "replace").strip()

        self._receive = receive  # llama.cpp keeps the pointer, so the object must live as long
        llama_cpp.llama_log_set(receive, ctypes.c_void_p(0))


@lru_cache(maxsize=1)
def _start_backend() -> _Log:
    """Initialize llama.cpp once in a process."""
    log = _Log()
    llama_cpp.llama_backend_init()
    return log


def default_n_threads(n_model_bytes: int) -> int:
    """Physical cores that this process may use: two threads a core make decoding slower, not faster.

    A small model gets fewer: waiting for each other costs its threads more than they save (the demonstrator on a busy
    machine: 13 ms a token with two threads, 2 ms with one).
    """
    n_logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        smt_active = Path("/sys/devices/system/cpu/smt/active").read_text().strip() == "1"
    except OSError:
        smt_active = False
    n_worth_it = 1 + n_model_bytes // N_BYTES_PER_THREAD
    return max(1, min(n_worth_it, n_logical // 2 if smt_active else n_logical))


class LlamaTokenizer:
    """The vocabulary of a loaded model."""

    def __init__(self, model: Any) -> None:
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self._pieces: dict[int, bytes] = {}
        self._room = (llama_cpp.llama_token * 1024)()

    def encode(self, text: bytes) -> tuple[int, ...]:
        """Token ids of `text`; a marker spelled in it is plain text."""
        return self._tokenize(text, parse_special=False)

    def piece(self, token_id: int) -> bytes:
        """The bytes that `token_id` stands for; empty for a marker."""
        piece = self._pieces.get(token_id)
        if piece is None:
            buffer = ctypes.create_string_buffer(N_LONGEST_PIECE_BYTES)
            n_bytes = llama_cpp.llama_token_to_piece(self._vocab, token_id, buffer, len(buffer), 0, False)
            piece = self._pieces[token_id] = buffer.raw[: max(0, n_bytes)]
        return piece

    def marker(self, text: str) -> int | None:
        """The id of the special token spelled `text`, or `None`."""
        ids = self._tokenize(text.encode(), parse_special=True)
        if len(ids) != 1 or llama_cpp.llama_vocab_get_text(self._vocab, ids[0]) != text.encode():
            return None
        return ids[0]

    def spelling(self, token_id: int) -> bytes:
        """A token's bytes, or a marker's name."""
        return self.piece(token_id) or bytes(llama_cpp.llama_vocab_get_text(self._vocab, token_id))

    def _tokenize(self, text: bytes, *, parse_special: bool) -> tuple[int, ...]:
        if not text:
            return ()
        n = -len(text)  # bytes that are no UTF-8 take more tokens than bytes, and then it answers how many
        while n < 0:
            if -n > len(self._room):
                self._room = (llama_cpp.llama_token * -(2 * n))()
            n = llama_cpp.llama_tokenize(
                self._vocab, text, len(text), self._room, len(self._room), False, parse_special
            )
        return tuple(self._room[:n])


class LlamaContext:
    """The `Backend` of `generation.py`: one llama context and a batch that is reused for every decode."""

    def __init__(self, model: Any, tokenizer: LlamaTokenizer, n_context: int, n_threads: int) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = n_context
        params.n_batch = params.n_ubatch = max(N_SLICE, 64)
        params.n_seq_max = self.n_sequences = N_SEQUENCES
        params.kv_unified = True  # the sequences share the cells of the prompt
        params.n_threads = params.n_threads_batch = n_threads
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(model, params)
        if not self._context:
            raise EngineError(_start_backend().last_error or "the context could not be made; lower model.contextLength")
        self.n_context = n_context
        self.piece = tokenizer.piece
        self._n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self.agreeing = PieceIndex.of((tokenizer.piece(i), i) for i in range(self._n_vocab)).agreeing
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._cancelled: Cancelled = lambda: False
        self._abort = llama_cpp.ggml_abort_callback(lambda _data: self._cancelled())
        self._logits: dict[int, Logits] = {}
        self.evaluation_ms = 0.0
        self.prefill_speed = 0.0
        self._batch = llama_cpp.llama_batch_init(params.n_batch, 0, 1)

    def decode(
        self, sequence: int, ids: Sequence[int], first_position: int, cancelled: Cancelled = lambda: False
    ) -> bool:
        """Evaluate at most `n_batch` ids; logits are kept for the last one. False if `cancelled` broke it off.

        On a CPU it is asked before each of the graph's some hundred nodes, unless there is but one id; on a GPU never.
        """
        batch = self._batch
        batch.n_tokens = n = len(ids)
        for i, token_id in enumerate(ids):
            batch.token[i] = token_id
            batch.pos[i] = first_position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = i == n - 1
        self._cancelled = cancelled
        llama_cpp.llama_set_abort_callback(self._context, self._abort if n > 1 else NEVER, None)
        elapsed_ms = self._evaluate_batch()
        if elapsed_ms is None:
            return False
        if n >= N_LEAST_MEASURED:
            speed = n / elapsed_ms * 1000
            self.prefill_speed += (speed - self.prefill_speed) * (SPEED_WEIGHT if self.prefill_speed else 1)
        return True

    def step(self, tokens: Sequence[tuple[int, int, int]]) -> None:
        """Evaluate `(sequence, id, position)` of several sequences in one batch; logits are kept for each."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, (sequence, token_id, position) in enumerate(tokens):
            batch.token[i] = token_id
            batch.pos[i] = position
            batch.n_seq_id[i] = batch.logits[i] = 1
            batch.seq_id[i][0] = sequence
        llama_cpp.llama_set_abort_callback(self._context, NEVER, None)
        self._evaluate_batch()

    def _evaluate_batch(self) -> float | None:
        """Milliseconds that the batch took, or `None` if it was broken off. Raises `EngineError`."""
        started = time.perf_counter()
        code = llama_cpp.llama_decode(self._context, self._batch)
        llama_cpp.llama_synchronize(self._context)
        elapsed_ms = (time.perf_counter() - started) * 1000
        self.evaluation_ms += elapsed_ms
        if code == ABORTED:
            return None
        if code:
            message = f"llama.cpp could not evaluate {self._batch.n_tokens} tokens (code {code})"
            raise EngineError(message)
        return elapsed_ms

    def decode_bare(self, sequence: int, token_id: int, first_position: int, n_calls: int) -> None:
        """Evaluate one token `n_calls` times at growing positions, with nothing in between.

        What the generation loop's speed is measured by. As in llama.cpp's llama-bench, each call is waited for.
        """
        batch = self._batch
        batch.n_tokens = batch.n_seq_id[0] = batch.logits[0] = 1
        batch.token[0], batch.seq_id[0][0] = token_id, sequence
        for position in range(first_position, first_position + n_calls):
            batch.pos[0] = position
            if llama_cpp.llama_decode(self._context, batch):
                message = f"llama.cpp could not evaluate a token at {position}"
                raise EngineError(message)
            llama_cpp.llama_synchronize(self._context)

    def logits(self, row: int = -1) -> Logits:
        """Logits behind an evaluated token, shape `(n_vocab,)`, a view that the next evaluation overwrites."""
        pointer = llama_cpp.llama_get_logits_ith(self._context, row)
        address = ctypes.addressof(pointer.contents)
        if address not in self._logits:  # making the view takes longer than choosing a token
            self._logits[address] = np.ctypeslib.as_array(pointer, shape=(self._n_vocab,))
        return self._logits[address]

    def branch(self, source: int, target: int) -> None:
        """Let `target` share the cells of `source`; nothing is copied."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def truncate(self, sequence: int, n_tokens: int) -> bool:
        """Keep the first `n_tokens` cells of the sequence."""
        return bool(llama_cpp.llama_memory_seq_rm(self._memory, sequence, n_tokens, -1))

    def warm_up(self) -> None:
        """Touch all weights, and then measure the speed of a prefill for the first time."""
        for _ in range(2):
            self.prefill_speed = 0.0
            self.decode(0, [0] * N_LEAST_MEASURED, 0)
            self.truncate(0, 0)

    def save(self, sequence: int) -> memoryview | None:
        """A copy of the sequence's cells, or `None` where there is no memory for it."""
        n_bytes = llama_cpp.llama_state_seq_get_size(self._context, sequence)
        try:
            buffer = (ctypes.c_uint8 * n_bytes)()
        except MemoryError:
            return None
        n_written = llama_cpp.llama_state_seq_get_data(self._context, buffer, n_bytes, sequence)
        return memoryview(buffer) if n_written == n_bytes else None

    def restore(self, sequence: int, state: memoryview) -> bool:
        """Put a copy into the empty sequence."""
        buffer = (ctypes.c_uint8 * state.nbytes).from_buffer(state)
        return bool(llama_cpp.llama_state_seq_set_data(self._context, buffer, state.nbytes, sequence))

    def n_cells(self, sequence: int) -> int:
        """How many cells the sequence has."""
        return int(llama_cpp.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def close(self) -> None:
        """Free the context."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)


class LlamaEngine:
    """An `Engine` in this process. Made by `load`."""

    def __init__(self, model: Any, info: ModelInfo, n_threads: int, parked: ParkedStates) -> None:
        self._model = model
        self.info = info
        self.tokenizer = LlamaTokenizer(model)
        self._context = LlamaContext(model, self.tokenizer, info.n_context, n_threads)
        self._ledger = SequenceLedger(sequence=0)
        self._parked = parked

    @property
    def context(self) -> LlamaContext:
        """The context, to be measured. Whoever decodes in it leaves the ledger behind."""
        return self._context

    def generate(self, request: GenerationRequest, stop: StopRule, cancelled: Cancelled) -> Generation:
        """Answer one request; see `generation.generate`."""
        resume(self._context, self._ledger, self._parked, request.document, request.prompt.ids)
        return generate(self._context, self._ledger, request, stop, cancelled)

    def prefill(self, document: str, prompt: Prompt, cancelled: Cancelled) -> Prefilled:
        """Evaluate a prompt ahead of the request for it."""
        resume(self._context, self._ledger, self._parked, document, prompt.ids)
        n_reused, n_evaluated = prefill(self._context, self._ledger, prompt.ids, cancelled)
        return Prefilled(n_evaluated, is_complete=n_reused + n_evaluated == len(prompt.ids))

    @property
    def prefill_speed(self) -> float:
        """Tokens a second, a moving average over the slices of the last prompts."""
        return self._context.prefill_speed

    def forget(self, document: str) -> None:
        """Drop the document's cells and copies."""
        self._parked.forget(document)
        if self._ledger.document == document:
            self._context.truncate(self._ledger.sequence, 0)
            self._ledger.truncate(0)

    def put_away(self, document: str) -> None:
        """Write the document's cells and copies to disk, if states go there."""
        put_away(self._context, self._ledger, self._parked, document)

    def cached(self) -> Iterable[CachedDocument]:
        """The document whose cells the context holds, then the parked ones, memory before disk."""
        if self._ledger.ids:
            yield CachedDocument(self._ledger.document, len(self._ledger.ids), "device")
        for parked in self._parked:
            yield CachedDocument(parked.document, len(parked.ids), "ram")
        for stored in self._parked.files or ():
            yield CachedDocument(stored.document, len(stored.ids), "disk")

    def check_ledger(self) -> None:
        """Raise `AssertionError` unless the record and the context agree. For tests."""
        n_cells = self._context.n_cells(self._ledger.sequence)
        n_others = sum(self._context.n_cells(other) for other in range(1, self._context.n_sequences))
        if n_cells != len(self._ledger.ids) or n_others:
            message = f"{len(self._ledger.ids)} ids are recorded, {n_cells} cells are held, {n_others} by others"
            raise AssertionError(message)

    def close(self) -> None:
        """Write to disk what goes there, and free context and model."""
        put_away(self._context, self._ledger, self._parked)
        self._context.close()
        llama_cpp.llama_model_free(self._model)


def load(
    path: Path,
    *,
    n_context: int,
    n_gpu_layers: int = -1,
    n_threads: int = 0,
    n_parked_bytes: int = 0,
    disk: DiskSpace | None = None,
    on_progress: Progress = lambda _share: None,
) -> LlamaEngine:
    """Load a GGUF file.

    `n_context` is cut to what the model was trained on; a negative `n_gpu_layers` offloads everything where the build
    can; `n_threads` 0 takes `default_n_threads`; copies of the KV state of documents that were left may take
    `n_parked_bytes` of memory, and then go to `disk`; `on_progress` is told the share that is loaded, 0 to 1. Raises
    `EngineError` (a `ModelFileError` for what is wrong with the file itself).
    """
    checked = check_model_file(path)
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = n_gpu_layers
    # Not memory-mapped: llama.cpp lays quantized weights out anew for the CPU, and the mapped file would stay resident
    # beside that, as large as the weights.
    params.load_mode = llama_cpp.LLAMA_LOAD_MODE_NONE

    @llama_cpp.llama_progress_callback  # type: ignore[untyped-decorator]
    def progress(share: float, _data: object) -> bool:
        on_progress(share)
        return True

    params.progress_callback = progress
    model = _open(checked, params)
    n_offloaded = 0
    if llama_cpp.llama_supports_gpu_offload():
        n_all = checked.n_layers + 1
        n_offloaded = n_all if n_gpu_layers < 0 else min(n_gpu_layers, n_all)
    info = _info(checked, n_context, n_offloaded)
    # The context's own parameters are llama.cpp's defaults: they change with its version, and with where layers run.
    key = (llama_cpp.__version__, n_offloaded)
    files = StateFiles(disk, model_key(checked.path, *key)) if disk else None
    parked = ParkedStates(n_parked_bytes, files)
    engine = LlamaEngine(model, info, n_threads or default_n_threads(checked.n_bytes), parked)
    engine.context.warm_up()
    return engine


def load_vocabulary(path: Path, n_context: int) -> tuple[ModelInfo, LlamaTokenizer]:
    """What choosing a prompt needs of a GGUF file, without its weights. Raises `EngineError` as `load` does.

    The vocabulary stays for as long as the process does.
    """
    checked = check_model_file(path)
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    return _info(checked, n_context, 0), LlamaTokenizer(_open(checked, params))


def _open(checked: ModelFile, params: Any) -> Any:
    """A pointer to the model."""
    log = _start_backend()
    model = llama_cpp.llama_model_load_from_file(os.fsencode(checked.path), params)
    if not model:
        why = log.last_error or "no reason given"
        message = f"{checked.path}: llama.cpp could not load it ({why}); fetch the file again"
        raise EngineError(message)
    return model


def _info(checked: ModelFile, n_context: int, n_gpu_layers: int) -> ModelInfo:
    return ModelInfo(
        name=checked.name,
        architecture=checked.architecture,
        n_parameters=checked.n_parameters,
        n_bytes=checked.n_bytes,
        n_context=min(n_context, checked.n_context_train),
        n_gpu_layers=n_gpu_layers,
    )
