"""Imported first by a host's Python. It crashes the process as the variable `CRASH` says.

`CRASH` is `STAGE/SIGNAL/RUNG`. The stage is `importing`, `loading`, `warming up` or `decoding=POISON`, where POISON is
a token's id. A host crashes only above that rung of the ladder. Each start adds a line to the file named by `STARTS`.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

PATCHED = "starcoder_lsp.engine.local.llama"


def die() -> None:
    os.kill(os.getpid(), getattr(signal, os.environ["CRASH"].split("/")[1]))


def rung_of(options: Any) -> int:
    if not options.use_flash_attention:
        return 3
    return 0 if options.use_extra_buffers else 2 if options.n_gpu_layers == 0 else 1


def patch(module: Any) -> None:
    with Path(os.environ["STARTS"]).open("a") as file:
        file.write("start\n")
    stage, _, rung = os.environ.get("CRASH", "nowhere/SIGKILL/0").split("/")
    stage, _, poison = stage.partition("=")
    if stage == "importing":
        die()
    context = module.LlamaContext
    begin, warm_up, decode = context.__init__, context.warm_up, context.decode

    def begin_or_die(self: Any, options: Any, *rest: Any) -> None:
        self.is_doomed = rung_of(options) < int(rung)
        if stage == "loading" and self.is_doomed:
            die()
        begin(self, options, *rest)

    def warm_up_or_die(self: Any) -> None:
        if stage == "warming up" and self.is_doomed:
            die()
        warm_up(self)

    def decode_or_die(self: Any, sequence: int, ids: Any, *rest: Any) -> bool:
        if stage == "decoding" and self.is_doomed and int(poison) in ids:
            die()
        return decode(self, sequence, ids, *rest)

    context.__init__, context.warm_up, context.decode = begin_or_die, warm_up_or_die, decode_or_die


class Finder:
    """Patches the module when it is imported, which only hosts do."""

    def find_spec(self, name: str, _path: object, _target: object = None) -> Any:
        if name != PATCHED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        load = spec.loader.exec_module

        def load_and_patch(module: Any) -> None:
            load(module)
            patch(module)

        spec.loader.exec_module = load_and_patch
        return spec


sys.meta_path.insert(0, Finder())
