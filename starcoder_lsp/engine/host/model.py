"""Load the model into the host's process and warm it up, reporting each stage to the process that started the host."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.families import FAMILIES
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.model_file import raising_model_file_errors, read_model_header

if TYPE_CHECKING:
    from starcoder_lsp.engine.local.llama import LlamaContext
    from starcoder_lsp.engine.local.worker import Worker


@frozen(eq=False)
class LoadedModel:
    """The model in this process: its context, and the thread that uses it."""

    worker: Worker
    context: LlamaContext


def report_stage(stage: str) -> bool:
    """Write the stage to standard output, which the starter reads; return false if the starter is gone."""
    with suppress(OSError, ValueError):
        sys.stdout.write(f"{stage}\n")
        sys.stdout.flush()
        return True
    return False


def load(options: HostOptions, on_progress: Callable[[float], None]) -> LoadedModel:
    """Load the model and warm it up. Raises `EngineError`."""
    from starcoder_lsp.engine.host.rebuild import rebuild_command  # the host listens before these are imported
    from starcoder_lsp.engine.token_bytes import read_token_bytes

    header = read_model_header(Path(options.path))
    with raising_model_file_errors(header.file.path):
        pieces = read_token_bytes(header.metadata, header.data, FAMILIES[header.file.architecture]).pieces
    report_stage("importing")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy multiplies no matrices here; threads cost 0.1 s of CPU
    try:
        from starcoder_lsp.engine.local import llama
    except (ImportError, OSError, RuntimeError) as error:
        message = f"llama-cpp-python cannot be loaded ({error}); rebuild it: {rebuild_command()}"
        raise EngineError(message) from error
    from starcoder_lsp.engine.local.load_options import LoadOptions
    from starcoder_lsp.engine.local.parking import ParkedStates
    from starcoder_lsp.engine.local.sequences import Sequences
    from starcoder_lsp.engine.local.slices import batch_timer, measured
    from starcoder_lsp.engine.local.state_files import state_files
    from starcoder_lsp.engine.local.worker import Worker

    report_stage("loading")
    n_cells = options.n_context * (2 if options.is_shared else 1)
    context = llama.LlamaContext(
        LoadOptions(
            path=Path(options.path),
            n_cells=n_cells,
            n_model_bytes=header.file.n_bytes,
            n_gpu_layers=options.n_gpu_layers,
            n_threads=options.n_threads,
            use_extra_buffers=options.use_extra_buffers,
            use_flash_attention=options.use_flash_attention,
            lora=options.lora,
            cache_type=options.cache_type,
        ),
        pieces,
        on_progress,
    )
    report_stage("warming up")
    context.warm_up()
    slices = measured(context.n_slice, batch_timer(context), context.reopen)
    cells_key = (*context.cells_key, "moved") if options.reuses_moved else context.cells_key
    files = state_files(options.n_disk_bytes, Path(options.path), cells_key)
    states = ParkedStates(options.n_parked_bytes, files)
    n_sequences = llama.N_RESIDENTS, llama.N_BRANCHES
    sequences = Sequences.of(context, states, *n_sequences, has_spares=options.reuses_moved)
    return LoadedModel(Worker(sequences, options.n_context, slices=slices), context)
