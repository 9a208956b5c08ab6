"""Real engines as child processes: llama.cpp's server, and vLLM on the CPU, both with the demonstrator."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, field

from starcoder_lsp.engine.loading import DEMONSTRATOR

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / "build" / "engines"
READY_TIMEOUT_S = 300.0
"""vLLM takes 20 to 48 s on two idle cores."""
VLLM_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "auto",
    "VLLM_HOST_IP": "127.0.0.1",
}
VLLM_ARGUMENTS = (
    *("--served-model-name", "demo", "--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager"),
    *("--max-num-seqs", "8", "--max-model-len", "2048", "--block-size", "32", "--enable-prompt-tokens-details"),
)


@define(eq=False)
class EngineServer:
    """One engine. `kind` is that of the settings."""

    kind: str
    command: list[str]
    environment: dict[str, str]
    port: int
    _process: subprocess.Popen[bytes] | None = None
    _log: Path = field(factory=lambda: Path(tempfile.mkstemp(suffix=".log")[1]))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it has its model."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own command
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._is_ready():
            assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, self._log.read_text(errors="replace")[-2000:]
            time.sleep(0.1)  # it signals nothing that could be waited for

    def stop(self, *, how: signal.Signals = signal.SIGKILL) -> None:
        """End it and all of its processes."""
        if self._process is not None:
            os.killpg(self._process.pid, how)
            self._process.wait(30)
            self._process = None

    def metrics(self) -> dict[str, float]:
        """Return the engine's counters, each summed over its labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as reply:  # noqa: S310  our own address
            lines = reply.read().decode().splitlines()
        counters: dict[str, float] = {}
        for line in lines:
            name, _, value = line.rpartition(" ")
            if name and not line.startswith("#"):
                name = name.partition("{")[0]
                counters[name] = counters.get(name, 0.0) + float(value)
        return counters

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as reply:  # noqa: S310  our own address
                return reply.status == 200
        except OSError:
            return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def python_of(name: str) -> Path:
    """Return the engine's interpreter. If it is not installed, the test is skipped with that reason."""
    python = ENGINES / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{name} is not below build/engines: STARCODER_TEST_ENGINES=all make test-engines installs it")
    return python


@contextmanager
def llama_server() -> Iterator[EngineServer]:
    port = free_port()
    script = str(Path(__file__).with_name("llama_server.py"))
    command = [str(python_of("llama")), script, str(DEMONSTRATOR), str(port)]
    yield from _running(EngineServer("llama-server", command, {}, port))


@contextmanager
def vllm(folder: Path) -> Iterator[EngineServer]:
    """Run vLLM; the demonstrator is written to `folder` in the format of Hugging Face."""
    port, python = free_port(), str(python_of("vllm"))
    convert = [python, "-m", "demo_model.to_hugging_face", str(DEMONSTRATOR), str(folder)]
    subprocess.run(convert, cwd=ROOT, check=True)  # noqa: S603  our own command
    module = "vllm.entrypoints.openai.api_server"
    command = [python, "-m", module, "--model", str(folder), "--port", str(port), *VLLM_ARGUMENTS]
    yield from _running(EngineServer("vllm", command, VLLM_ENVIRONMENT, port))


def _running(server: EngineServer) -> Iterator[EngineServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()
