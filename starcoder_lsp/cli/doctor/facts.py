"""What the checks look at, as values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.model_file import ModelFile
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.settings import Settings


@frozen
class Places:
    """Where the system says what it is."""

    home: Path = field(factory=Path.home)
    meminfo: Path = Path("/proc/meminfo")
    cpuinfo: Path = Path("/proc/cpuinfo")
    nvidia_driver: Path = Path("/proc/driver/nvidia")


@frozen
class Library:
    """The llama.cpp that is installed. `failure` is one line if it cannot be loaded."""

    version: str
    """Of llama-cpp-python; empty if it is not installed."""
    folder: Path | None
    gpu_backends: tuple[str, ...] = ()
    """By the names of its files."""
    system_info: str = ""
    can_offload: bool = False
    failure: str = ""


@frozen
class RunningHost:
    """A host that runs, and what it says of itself; or why it says nothing."""

    name: str
    status: Mapping[str, Any] = field(factory=dict)
    problem: str = ""


@frozen
class Memory:
    """Of this machine, in bytes."""

    n_total: int
    n_available: int


@frozen
class Speed:
    """As measured with a host of its own, in tokens a second. `told` is what a user was told meanwhile."""

    prefill: float
    decode: float
    load_s: float
    n_gpu_layers: int
    told: tuple[str, ...] = ()


@frozen
class Facts:
    """All that the checks look at."""

    places: Places
    settings: Settings
    settings_path: Path
    has_settings_file: bool
    file_problems: tuple[str, ...]
    """Why the whole file of settings is ignored."""
    setting_problems: tuple[str, ...]
    model_path: Path
    model: ModelFile | None
    prompts: PromptModel | None
    model_problem: EngineError | None
    library: Library
    cpu_flags: frozenset[str]
    """As Linux names them; empty on other systems."""
    has_nvidia_gpu: bool
    crashes: tuple[Mapping[str, Any], ...]
    """What the ladder remembers for this CPU and build."""
    n_forgotten: int | None
    """How many crashes were forgotten, if that was asked for."""
    memory: Memory | None
    runtime_path: Path
    runtime_problem: str
    cache_path: Path
    state_path: Path
    hosts: tuple[RunningHost, ...]
    gone: Mapping[str, str]
    """The last words of hosts that are gone, by name. Their files have been removed."""
    speed: Speed | None = None
    speed_problem: str = ""

    @property
    def caution(self) -> Caution:
        """How carefully the model is run."""
        kind = self.model.architecture if self.model is not None else ""
        remembered = [entry.get("caution", 0) for entry in self.crashes if entry.get("kind") == kind]
        return Caution(max(remembered, default=0))

    @property
    def runs_on_gpu(self) -> bool:
        """Whether weights go to a GPU."""
        return self.library.can_offload and self.settings.model.gpu_layers != 0 and self.caution < Caution.NO_GPU

    @property
    def host_of_model(self) -> RunningHost | None:
        """The shared host that has this model loaded with these settings."""
        if self.model is None or not self.settings.host.shared:
            return None
        key = HostOptions.of(self.settings, self.model).key
        return next((host for host in self.hosts if host.name == key), None)
