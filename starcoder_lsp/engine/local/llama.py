"""The model in this process, through llama.cpp's low-level API.

The high-level `Llama` class is not used: its infilling has one id for all three markers, and it hides the number of
sequences. A failed assertion inside llama.cpp ends the process, so `model_file.py` checks the file first.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.local.adapter import apply_adapter, load_adapter
from starcoder_lsp.engine.local.backend import N_SLICE, Interrupted, Logits
from starcoder_lsp.engine.local.load_options import LoadOptions
from starcoder_lsp.engine.local.low_level import installed_version, llama_cpp
from starcoder_lsp.engine.local.pieces import PieceIndex
from starcoder_lsp.engine.local.slices import first_batch
from starcoder_lsp.engine.threads import default_n_threads

ERROR_LEVEL = 4
"""GGML_LOG_LEVEL_ERROR (ggml.h)."""
N_RESIDENTS = 4
"""Sequences with a document each. Not measured."""
N_BRANCHES = 14
"""Sequences for answers beside the first one: enough for two clients that request eight answers each."""
ABORTED = 2
"""The return code of `llama_decode` after the abort callback broke it off (llama.h)."""
NEVER = llama_cpp.ggml_abort_callback()
"""No abort callback: for one token, calling one before each node of the graph costs up to a tenth of the time."""
MIN_MEASURED_TOKENS = N_SLICE // 2
"""Smaller batches are not counted in the speed of a prefill: a token alone takes longer. The value is not measured."""
SPEED_WEIGHT = 0.1
"""Weight of the newest slice in the measured speed, which so averages over some 600 tokens. Not measured."""
CACHE_TYPES = {"f16": llama_cpp.GGML_TYPE_F16, "q8_0": llama_cpp.GGML_TYPE_Q8_0}
"""ggml's types of keys and values, by `cache.type`."""
N_SPARES = N_RESIDENTS
"""Sequences for cells that are set aside (`moved.py`), one for each document."""
Progress = Callable[[float], None]


class _Log:
    """Keeps the last error of llama.cpp's log, which would go to standard error."""

    def __init__(self) -> None:
        self.last_error = ""

        @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
        def receive(level: int, text: bytes, _data: object) -> None:
            if level == ERROR_LEVEL:
                self.last_error = text.decode("utf-8", "replace").strip()

        self._receive = receive  # llama.cpp keeps the pointer, so the object must live as long
        llama_cpp.llama_log_set(receive, ctypes.c_void_p(0))


@lru_cache(maxsize=1)
def start_backend() -> _Log:
    """Initialize llama.cpp once in a process."""
    log = _Log()
    llama_cpp.llama_backend_init()
    return log


class LlamaContext:
    """The `Backend` of the model thread: one model, one llama context, and a batch that is reused for every decode.

    `pieces` are the bytes of each token, by id. `on_progress` is called with the share that is loaded, 0 to 1. Raises
    `EngineError` if llama.cpp cannot load the file, or has no memory for the context.
    """

    def __init__(
        self, options: LoadOptions, pieces: Sequence[bytes], on_progress: Progress = lambda _share: None
    ) -> None:
        self._model = _load(options, on_progress)
        self._lora = options.lora
        if self._lora is not None:
            self._adapter = load_adapter(self._model, self._lora.path, lambda: start_backend().last_error)
        self.n_cells = options.n_cells
        self.n_gpu_layers = _n_offloaded(self._model, options)
        self.n_threads = options.n_threads or default_n_threads(options.n_model_bytes)
        self.uses_flash_attention = options.use_flash_attention  # which decides how values are laid out
        self.cache_type = options.cache_type if self.uses_flash_attention else "f16"  # quantized values need it
        self.pieces = pieces
        self._n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        index = PieceIndex.of((piece, token_id) for token_id, piece in enumerate(pieces))
        self.agreeing, self.without = index.agreeing, lru_cache(maxsize=4)(index.without)
        self._interrupted: Interrupted = lambda: False
        self._abort = llama_cpp.ggml_abort_callback(lambda _data: self._interrupted())
        self.evaluation_ms = 0.0
        self.prefill_speed = 0.0
        self._open(options.n_slice or first_batch(self.n_gpu_layers))

    def _open(self, n_slice: int) -> None:
        """Make the context and its batch. Raises `EngineError`."""
        self.n_slice = n_slice
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = self.n_cells
        params.n_batch = params.n_ubatch = n_slice
        params.n_seq_max = self.n_sequences = N_RESIDENTS + N_BRANCHES + N_SPARES
        params.kv_unified = True  # the answers to a prompt share its cells
        params.n_threads = params.n_threads_batch = self.n_threads
        params.type_k = params.type_v = CACHE_TYPES[self.cache_type]
        params.no_perf = True
        if not self.uses_flash_attention:
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            llama_cpp.llama_model_free(self._model)
            raise EngineError(start_backend().last_error or "the context could not be made; lower model.contextLength")
        if self._lora is not None:
            apply_adapter(self._context, self._adapter, self._lora.scale)
        self._callback = None
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._logits: dict[int, Logits] = {}
        self._batch = llama_cpp.llama_batch_init(n_slice, 0, 1)

    def reopen(self, n_slice: int) -> None:
        """Begin anew with an empty context whose batches hold `n_slice` tokens; the model stays loaded.

        Raises `EngineError`; nothing is usable then.
        """
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        self._open(n_slice)

    @property
    def cells_key(self) -> tuple[object, ...]:
        """The values that must be equal, besides the model file, for cells of another context to be valid."""
        # The other parameters are llama.cpp's defaults: they change with its version, and with where layers run.
        adapter = () if self._lora is None else self._lora.key
        cache_type = () if self.cache_type == "f16" else (self.cache_type,)
        return installed_version(), self.n_gpu_layers, self.uses_flash_attention, *cache_type, *adapter

    def decode(
        self, sequence: int, ids: Sequence[int], first_position: int, interrupted: Interrupted = lambda: False
    ) -> bool:
        """Evaluate at most `n_slice` ids, with logits for the last one; return false if `interrupted` broke it off.

        On a CPU `interrupted` is called before each of the graph's some hundred nodes, but not for a single id. On a
        GPU it is never called.
        """
        batch = self._batch
        batch.n_tokens = n = len(ids)
        for i, token_id in enumerate(ids):
            batch.token[i] = token_id
            batch.pos[i] = first_position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = i == n - 1
        self._interrupted = interrupted
        self._set_callback(self._abort if n > 1 else NEVER)
        elapsed_ms = self._evaluate_batch()
        if elapsed_ms is None:
            return False
        if n >= MIN_MEASURED_TOKENS:
            speed = n / elapsed_ms * 1000
            self.prefill_speed += (speed - self.prefill_speed) * (SPEED_WEIGHT if self.prefill_speed else 1)
        return True

    def step(self, tokens: Sequence[tuple[int, int, int]]) -> None:
        """Evaluate `(sequence, id, position)` of several sequences in one batch, with logits for each."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, (sequence, token_id, position) in enumerate(tokens):
            batch.token[i] = token_id
            batch.pos[i] = position
            batch.n_seq_id[i] = batch.logits[i] = 1
            batch.seq_id[i][0] = sequence
        self._set_callback(NEVER)
        self._evaluate_batch()

    def _set_callback(self, callback: Any) -> None:
        """Set the abort callback. Each call into C lets another thread in, and then waits for it."""
        if callback is not self._callback:
            llama_cpp.llama_set_abort_callback(self._context, callback, None)
            self._callback = callback

    def _evaluate_batch(self) -> float | None:
        """Evaluate the batch; return its milliseconds, or `None` if it was broken off. Raises `EngineError`."""
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

        The speed of the generation loop is compared with this. As in llama.cpp's llama-bench, each call is synchronous.
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
        """Return the logits behind an evaluated token, shape `(n_vocab,)`. The next evaluation overwrites them."""
        pointer = llama_cpp.llama_get_logits_ith(self._context, row)
        address = ctypes.addressof(pointer.contents)
        if address not in self._logits:  # making the view takes longer than choosing a token
            self._logits[address] = np.ctypeslib.as_array(pointer, shape=(self._n_vocab,))
        return self._logits[address]

    def branch(self, source: int, target: int, end: int = -1, first: int = 0) -> None:
        """Let `target` share the cells `first` to `end` of `source`, or all from there on; nothing is copied."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, first, end)

    def shift(self, sequence: int, n_positions: int) -> None:
        """Move the cells of a sequence up or down. llama.cpp rotates their keys before the next evaluation."""
        llama_cpp.llama_memory_seq_add(self._memory, sequence, -1, -1, n_positions)

    def truncate(self, sequence: int, n_tokens: int) -> bool:
        """Keep the first `n_tokens` cells of the sequence."""
        return bool(llama_cpp.llama_memory_seq_rm(self._memory, sequence, n_tokens, -1))

    def warm_up(self) -> None:
        """Read all weights once, and then measure the speed of a prefill."""
        for _ in range(2):
            self.prefill_speed = 0.0
            self.decode(0, [0] * MIN_MEASURED_TOKENS, 0)
            self.truncate(0, 0)

    def save(self, sequence: int) -> memoryview | None:
        """Return a copy of the sequence's cells, or `None` without memory for it."""
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

    def n_cells_of(self, sequence: int) -> int:
        """Return the number of the sequence's cells."""
        return int(llama_cpp.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def close(self) -> None:
        """Free context and model."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)


def _load(options: LoadOptions, on_progress: Progress) -> Any:
    """Load a model and return a pointer to it. Raises `EngineError`."""
    log = start_backend()
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = options.n_gpu_layers
    params.use_extra_bufts = options.use_extra_buffers
    # Not memory-mapped: llama.cpp rearranges quantized weights for the CPU, and the mapped file would stay resident
    # too: 3.3 GB for a 3B model of 1.7 GB.
    params.load_mode = llama_cpp.LLAMA_LOAD_MODE_NONE

    @llama_cpp.llama_progress_callback  # type: ignore[untyped-decorator]
    def progress(share: float, _data: object) -> bool:
        on_progress(share)
        return True

    params.progress_callback = progress
    model = llama_cpp.llama_model_load_from_file(os.fsencode(options.path), params)
    if not model:
        why = log.last_error or "no reason given"
        message = f"{options.path}: llama.cpp could not load it ({why}); fetch the file again"
        raise EngineError(message)
    return model


def _n_offloaded(model: Any, options: LoadOptions) -> int:
    """Return the number of layers on a GPU, including the output layer."""
    if not llama_cpp.llama_supports_gpu_offload():
        return 0
    n_all = int(llama_cpp.llama_model_n_layer(model)) + 1
    return n_all if options.n_gpu_layers < 0 else min(options.n_gpu_layers, n_all)
