"""The facts that the checks judge, as frozen values."""

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
    """Paths from which the system is read."""

    home: Path = field(factory=Path.home)
    meminfo: Path = Path("/proc/meminfo")
    cpuinfo: Path = Path("/proc/cpuinfo")
    nvidia_driver: Path = Path("/proc/driver/nvidia")


@frozen
class Library:
    """The installed llama.cpp. `failure` is one line if it cannot be loaded, otherwise empty."""

    version: str
    """The version of llama-cpp-python; empty if it is not installed."""
    folder: Path | None
    gpu_backends: tuple[str, ...] = ()
    """The GPU backends, by the names of the library's files."""
    system_info: str = ""
    can_offload: bool = False
    failure: str = ""


@frozen
class RunningHost:
    """A running host and its status, or the problem with asking for it."""

    name: str
    status: Mapping[str, Any] = field(factory=dict)
    problem: str = ""


@frozen
class Memory:
    """The memory of this machine, in bytes."""

    n_total: int
    n_available: int


@frozen
class Speed:
    """The speed in tokens a second, and the messages to the user during the measurement."""

    prefill: float
    decode: float
    load_s: float
    n_gpu_layers: int
    messages: tuple[str, ...] = ()


@frozen
class EngineFacts:
    """A remote engine: its host, and its description, or the reason why it gave none."""

    host: str
    model: str = ""
    n_context: int = 0
    limits: tuple[str, ...] = ()
    problem: str = ""


@frozen
class Facts:
    """All facts."""

    places: Places
    settings: Settings
    settings_path: Path
    has_settings_file: bool
    file_problems: tuple[str, ...]
    """The reasons why the whole file of settings is ignored."""
    setting_problems: tuple[str, ...]
    model_path: Path
    model: ModelFile | None
    prompts: PromptModel | None
    model_problem: EngineError | None
    library: Library
    cpu_flags: frozenset[str]
    """Linux' names of the CPU's features; empty on other systems."""
    has_nvidia_gpu: bool
    crashes: tuple[Mapping[str, Any], ...]
    """The ladder's entries for this CPU and build."""
    n_forgotten: int | None
    """The number of crashes that `--forget-crashes` removed; `None` without it."""
    memory: Memory | None
    runtime_path: Path
    runtime_problem: str
    cache_path: Path
    state_path: Path
    hosts: tuple[RunningHost, ...]
    ended: Mapping[str, str]
    """The last lines of hosts that ended, by name. Their files have been removed."""
    engine: EngineFacts | None = None
    """The remote engine, if the settings name one."""
    speed: Speed | None = None
    speed_problem: str = ""

    @property
    def has_local_model(self) -> bool:
        """Return whether a model may run on this machine."""
        return self.engine is None or self.settings.engine.fallback == "local"

    @property
    def caution(self) -> Caution:
        """The rung of the ladder on which the model runs after earlier crashes."""
        kind = self.model.architecture if self.model is not None else ""
        remembered = [entry.get("caution", 0) for entry in self.crashes if entry.get("kind") == kind]
        return Caution(max(remembered, default=0))

    @property
    def runs_on_gpu(self) -> bool:
        """Return whether weights go to a GPU."""
        return self.library.can_offload and self.settings.model.gpu_layers != 0 and self.caution < Caution.NO_GPU

    @property
    def host_of_model(self) -> RunningHost | None:
        """The shared host that has this model loaded with these settings."""
        if self.model is None or self.model_problem is not None or not self.settings.host.shared:
            return None
        key = HostOptions.of(self.settings, self.model).key
        return next((host for host in self.hosts if host.name == key), None)
