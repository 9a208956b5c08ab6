"""Steps with processes of their own: the whole server, the ladder after a crash, and llama.cpp's programs beside it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from attrs import evolve
from task import Task

from starcoder_lsp.cli.bench import replay as replaying
from starcoder_lsp.cli.bench.traces import (
    Excerpt,
    check_range,
    document_name,
    edits_of,
    grouped,
    read_trace,
    text_before,
)
from starcoder_lsp.settings import Settings

CRASHING = "tests/host/crashing"
"""A folder on a host's path that lets it crash as `CRASH` says."""
CRASH = "loading/SIGSEGV/2"
"""Crash while loading, by SIGSEGV, on every rung before the one without a GPU."""
N_BATCH = "2048"
T = TypeVar("T")


def in_time(task: Task, items: Iterable[T]) -> Iterator[T]:
    """Yield the items until the step must begin nothing new."""
    for item in items:
        if task.is_late:
            return
        yield item


def traced(task: Task, n_edits: int) -> Excerpt:
    """Return `n_edits` edits from the task's first one on."""
    trace = read_trace(task.trace)
    n_edits = check_range(trace, task.trace, task.first, n_edits)
    edits = in_time(task, edits_of(trace, task.first, n_edits))
    return Excerpt(document_name(trace, None), text_before(trace, task.first), edits)


async def replay(task: Task) -> None:
    """Replay an editing session on a real server, whose host has the model on the GPU."""
    path = task.model_file()
    replayed = await replaying.play(traced(task, task.sizes["n_edits"]), path)
    for name, answers in (grouped(replayed.answers) | {"agreeing": replayed.agreeing}).items():
        task.row(name, **replaying.figures(answers))
    task.row("server", peak_memory_bytes=replayed.peak_bytes, trace=task.trace.name, first=task.first)


async def ladder(task: Task) -> None:
    """Start a host that crashes while it loads with layers on a GPU. It must go on without, and remember that."""
    from starcoder_lsp.engine.host.client import HostEngine
    from starcoder_lsp.engine.host.options import HostOptions
    from starcoder_lsp.engine.model_file import check_model_file

    model = check_model_file(task.model_file())
    folder = task.folder / "l"
    folder.mkdir(mode=0o700)
    starts = folder / "starts"
    os.environ |= {name: str(folder) for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME")}
    os.environ |= {"STARTS": str(starts)}
    os.environ["PYTHONPATH"] = f"{task.root / CRASHING}{os.pathsep}{os.environ['PYTHONPATH']}"
    options = evolve(HostOptions.of(Settings(), model), is_shared=False, idle_s=0.0)
    for what, crash in (("calm", None), ("crashing with a GPU", CRASH), ("remembered", CRASH)):
        os.environ |= {"CRASH": crash} if crash else {}
        starts.write_text("")
        messages: list[str] = []
        engine = HostEngine(options, model.architecture, messages.append)
        started = time.perf_counter()
        try:
            await engine.start()
            figures = {"gpu_layers": engine.n_gpu_layers, "caution": engine.caution.name}
            figures |= {"prefill_tokens_per_s": round(engine.prefill_speed, 1)}
        finally:
            await engine.close()
        task.row(
            what,
            seconds=round(time.perf_counter() - started, 2),
            starts=len(starts.read_text().splitlines()),
            **figures,
            messages=messages,
        )


async def compare(task: Task) -> None:
    """Measure the time to the first token after an edit: llama-server's, and this program's."""
    from starcoder_lsp.cli.bench import compare as comparing
    from starcoder_lsp.cli.bench.llama_server import arguments, llama_server
    from starcoder_lsp.engine.threads import default_n_threads

    path = task.model_file()
    n_threads = default_n_threads(path.stat().st_size)
    command = [*arguments(Path(task.programs["llama-server"]), path, n_threads), "-ngl", "999"]
    settings = replaying.SETTINGS | {"completion": {"maxTokens": 1}, "model": {"threads": n_threads}}
    excerpt = traced(task, task.sizes["n_compared"])
    with llama_server(command) as peer:
        turns = await comparing.play(excerpt, settings, path, peer)
    for name, pairs in grouped(turns).items():
        task.row(name, **comparing.figures(pairs))


def llama_bench(task: Task) -> None:
    """Run llama.cpp's own benchmark: the same prompts in the same micro-batches, and decoding behind as many tokens."""
    sizes, path = task.sizes, task.model_file()
    n_runs = ["-r", str(sizes["n_runs"])]
    slices = ",".join(map(str, sizes["slices"]))
    for more in (
        ["-p", "0", "-n", str(sizes["n_decoded"]), "-d", str(sizes["n_held"])],
        ["-p", str(sizes["n_prompt"]), "-n", "0", "-ub", slices],
    ):
        command = [task.programs["llama-bench"], "-m", str(path), "-ngl", "999", "-fa", "on", "-b", N_BATCH, *n_runs]
        with subprocess.Popen([*command, "-o", "jsonl", *more], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout is not None  # noqa: S101  it is a pipe
            for line in process.stdout:
                if line.startswith("{"):
                    told = json.loads(line)
                    is_prefill = told["n_prompt"] > 0
                    task.row(
                        "prefill" if is_prefill else "decode",
                        **{"slice": told["n_ubatch"]} if is_prefill else {},
                        tokens_per_s=round(told["avg_ts"], 1),
                        deviation=round(told["stddev_ts"], 1),
                        backends=told["backends"],
                    )
        if process.returncode:
            task.row("failed", code=process.returncode)
