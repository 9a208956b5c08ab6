"""Checks of the model file, its prompts, the memory that it needs and its speed."""

from __future__ import annotations

from collections.abc import Iterator

from starcoder_lsp.cli.doctor.check import ERROR, MIB, OK, WARNING, Check, size
from starcoder_lsp.cli.doctor.facts import Facts, Memory
from starcoder_lsp.engine.host.options import KV_SHARES
from starcoder_lsp.engine.host.rebuild import rebuild_command
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.model_file import ModelFileError

N_OVERHEAD_BYTES = 200 * MIB
"""Memory of a host besides weights, cells and parked states (bench/RESULTS.md, `starcoder-lsp bench synthetic`)."""
MIN_CONTEXT_TOKENS = 1024
"""The shortest context that the advice proposes. Not measured."""
N_CELLS_A_CLIENT = {True: 2, False: 1}
"""Prompts of full length that a host's context holds, by whether it is shared (`engine/host/server.py`)."""
SLOW_TOKENS_PER_SECOND = 6.0
"""Below this a line of ten tokens takes more than 1.7 s. A choice; not measured with users."""


def check_model(facts: Facts) -> Iterator[Check]:
    """Check the model file, and report its prompt format and context."""
    if not facts.has_local_model:
        return
    file, prompts = facts.model, facts.prompts
    problem = facts.model_problem
    if isinstance(problem, ModelFileError):
        yield Check("model", ERROR, problem.reason, f"{problem.advice}.")
    elif problem is not None:
        yield Check("model", ERROR, str(problem), "Set model.path to a StarCoder2 or StarCoder file in GGUF format.")
    if file is None or prompts is None:
        return
    where = f"{file.name}, {file.architecture}, {file.n_parameters:,} parameters, {size(file.n_bytes)}, {file.path}"
    if facts.model_path == DEMONSTRATOR:
        advice = (
            "It is for trying out and often wrong. For StarCoder2, run starcoder-lsp models pull starcoder2-3b, or"
            " starcoder.pullModel in the editor; starcoder-lsp models list shows what suits this machine."
        )
        yield Check("model", WARNING, f"the demonstrator that comes with the package: {where}", advice)
    else:
        yield Check("model", OK, where)
    layouts = "PSM and repository" if prompts.fim.has_repository else "PSM"
    yield Check("prompt format", OK, f"{prompts.fim.name}, {layouts}")
    wanted = facts.settings.model.context_length
    if wanted > file.n_context_train:
        why = f"all that the model was trained on; model.contextLength is {wanted:,}"
    else:
        why = f"model.contextLength; the model was trained on {file.n_context_train:,}"
    yield Check("context", OK, f"{prompts.n_context:,} tokens ({why})")


def check_memory(facts: Facts) -> Iterator[Check]:
    """Check whether the model fits the free memory."""
    if facts.model is None or facts.prompts is None or not facts.has_local_model:
        return
    n_cells = facts.prompts.n_context * N_CELLS_A_CLIENT[facts.settings.host.shared]
    n_kv, n_parked = n_cells * _kv_bytes(facts), facts.settings.cache.ram_mib * MIB
    n_weights, max_bytes = facts.model.n_bytes, facts.model.n_bytes + n_kv + n_parked + N_OVERHEAD_BYTES
    needed = (
        f"up to {size(max_bytes)} ({size(n_weights)} of weights, {size(n_kv)} for {n_cells:,} tokens,"
        f" {size(n_parked)} for parked documents, {size(N_OVERHEAD_BYTES)} for the rest)"
    )
    if facts.runs_on_gpu:
        yield Check("memory", OK, f"{needed}, partly in the GPU's memory")
    elif facts.memory is None:
        yield Check("memory", OK, f"{needed}; this system does not tell how much is free")
    elif facts.host_of_model is not None:
        yield Check("memory", OK, f"{needed}; a shared process has the model already")
    else:
        yield _judge_memory(facts, facts.memory, max_bytes, f"{needed}; {size(facts.memory.n_available)} are free")


def _judge_memory(facts: Facts, memory: Memory, max_bytes: int, found: str) -> Check:
    """Return an error if the model never fits, even without parked states; a warning if it does not fit now."""
    n_parked = facts.settings.cache.ram_mib * MIB
    n_missing, advice = max_bytes - memory.n_available, smaller(facts, max_bytes - memory.n_available)
    if max_bytes - n_parked > memory.n_total:
        return Check("memory", ERROR, f"{found}; this machine has {size(memory.n_total)} in all", advice)
    return Check("memory", OK, found) if n_missing <= 0 else Check("memory", WARNING, found, advice)


def smaller(facts: Facts, n_missing: int) -> str:
    """Return the advice that saves `n_missing` bytes at the least cost: smaller settings, or another model."""
    assert facts.model is not None  # noqa: S101  it needs the memory
    assert facts.prompts is not None  # noqa: S101  as above
    ram_mib, n_context = facts.settings.cache.ram_mib, facts.prompts.n_context
    n_missing_mib = -(-n_missing // MIB)
    if n_missing_mib <= ram_mib:
        return f"Close other programs, or set cache.ramMiB to {ram_mib - n_missing_mib} in {facts.settings_path}."
    n_a_token = _kv_bytes(facts) * N_CELLS_A_CLIENT[facts.settings.host.shared]
    n_left = n_context - -(-(n_missing - ram_mib * MIB) // n_a_token)
    if n_left >= MIN_CONTEXT_TOKENS:
        n_left -= n_left % 256
        settings = f"cache.ramMiB to 0 and model.contextLength to {n_left}"
        return f"Close other programs, or set {settings} in {facts.settings_path}."
    return "Choose a smaller model or a stronger quantization, such as StarCoder2 3B in Q4_0."


def _kv_bytes(facts: Facts) -> int:
    """Return the bytes of one token's keys and values."""
    assert facts.model is not None  # noqa: S101  it has them
    return int(facts.model.n_kv_bytes * KV_SHARES[facts.settings.cache.type])


def check_speed(facts: Facts) -> Iterator[Check]:
    """Report the measured speed, and judge it."""
    for message in facts.speed.messages if facts.speed is not None else ():
        yield Check("speed", WARNING, message, "See the line `crashes`.")
    if facts.speed_problem:
        command = rebuild_command()
        found, _, _ = facts.speed_problem.partition(f"; rebuild it: {command}")
        advice = f"Rebuild it:\n{command}" if found != facts.speed_problem else "See the other lines of this report."
        yield Check("speed", ERROR, found, advice)
    if facts.speed is None or facts.prompts is None:
        return
    from starcoder_lsp.prompting import MIN_COLD_TOKENS

    speed, context = facts.speed, facts.settings.context
    gpu = f"{speed.n_gpu_layers} layers on the GPU" if speed.n_gpu_layers else "on the CPU"
    speeds = f"prefill {speed.prefill:,.0f} tokens/s, decode {speed.decode:,.1f} tokens/s"
    found = f"{speeds}, loaded in {speed.load_s:.1f} s, {gpu}"
    if speed.decode < SLOW_TOKENS_PER_SECOND:
        advice = f"A line of 10 tokens takes {10 / speed.decode:.1f} s. Choose a smaller model."
        yield Check("speed", WARNING, found, advice)
    else:
        yield Check("speed", OK, found)
    n_fitting = int(speed.prefill * context.max_prefill_ms / 1000)
    n_read = min(n_fitting, context.max_tokens)
    found = f"{n_read:,} of {context.max_tokens:,} tokens (context.maxTokens) are read at a new place"
    if n_fitting < MIN_COLD_TOKENS:
        needed_ms = int(MIN_COLD_TOKENS / speed.prefill * 1000)
        advice = (
            f"The minimum is {MIN_COLD_TOKENS}, which takes {needed_ms:,} ms. Choose a smaller model or a stronger"
            f" quantization, or set context.maxPrefillMs (now {context.max_prefill_ms:,}) to {needed_ms} and wait."
        )
        yield Check("prompt", WARNING, found, advice)
    else:
        yield Check("prompt", OK, f"{found} (context.maxPrefillMs {context.max_prefill_ms:,})")
