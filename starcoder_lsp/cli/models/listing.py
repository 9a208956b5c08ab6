"""`models list`: the models on this machine, those to download, and the one that suits this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starcoder_lsp.cli.models.naming import HUB, own_settings
from starcoder_lsp.cli.page import report_console
from starcoder_lsp.models.advice import (
    KV_BYTES,
    Recommendation,
    look_at_machine,
    n_memory_bytes_of,
    recommend,
    tokens_per_second,
)
from starcoder_lsp.models.bandwidth import bandwidth
from starcoder_lsp.models.catalogue import Entry, entries
from starcoder_lsp.models.chosen import is_demonstrator
from starcoder_lsp.models.found import FoundModel, find_models
from starcoder_lsp.models.licence import Acceptances
from starcoder_lsp.models.store import Store, in_hub_cache, path_of_entry
from starcoder_lsp.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

GB = 10**9
NOTE = (
    "Speed is what decoding on this CPU should reach, from the measured memory bandwidth of {:.1f} GB/s:"
    " each token reads all weights."
)


def list_models(*, measures_anew: bool, as_json: bool) -> int:
    """Write the catalogue and the models found on this machine."""
    settings = own_settings()
    machine = look_at_machine(bandwidth(measures_anew=measures_anew))
    advice = recommend(machine)
    store = Store()
    listed = {
        "inUse": _in_use(settings),
        "recommended": {"name": advice.entry.name, "why": advice.why},
        "machine": {
            "bandwidthBytesPerSecond": round(machine.bandwidth),
            "memoryBytes": machine.n_memory_bytes,
            "gpuBytes": machine.n_gpu_bytes,
        },
        "catalogue": [_row(entry, machine.bandwidth, settings, store) for entry in entries().values()],
        "pulled": _others_pulled(store, machine.bandwidth),
        "found": [_found_row(found, machine.bandwidth) for found in find_models()],
    }
    if as_json:
        print(json.dumps(listed, indent=2))
        return 0
    _print(listed, advice)
    return 0


def _print(listed: dict[str, Any], advice: Recommendation) -> None:
    console = report_console(highlight=True)
    console.print(catalogue_table(listed))
    if listed["found"] or listed["pulled"]:
        console.print(found_table(listed))
    in_use = listed["inUse"]
    use = "the demonstrator, which is not StarCoder2" if in_use is None else in_use
    console.print(f"In use: {use}", highlight=False, soft_wrap=True)
    console.print(f"Recommended: {advice.entry.name}, {advice.why}", highlight=False, soft_wrap=True)
    if in_use is None:
        console.print(f"  starcoder-lsp models pull {advice.entry.name}", highlight=False)


def catalogue_table(listed: dict[str, Any]) -> Table:
    """Return the table of models to download."""
    note = NOTE.format(listed["machine"]["bandwidthBytesPerSecond"] / GB)
    from rich.table import Table

    table = Table(title="Models", caption=note, caption_justify="left")
    for name in ("name", "download", "memory", "tokens/s", "licence", "here", "good for"):
        table.add_column(name, justify="right" if name in {"download", "memory", "tokens/s"} else "left")
    for row in listed["catalogue"]:
        here = "in use" if row["inUse"] else "yes" if row["path"] else ""
        accepted = ", accepted" if row["licence"]["accepted"] else ""
        table.add_row(
            row["name"],
            f"{row['bytes'] / GB:.2f} GB",
            f"{row['memoryBytes'] / GB:.1f} GB",
            f"{row['tokensPerSecond']:.1f}",
            f"{row['licence']['title']}{accepted}",
            here,
            row["goodFor"],
        )
    return table


def found_table(listed: dict[str, Any]) -> Table:
    """Return the models of other programs, and those pulled from other repositories."""
    from rich.table import Table

    table = Table(title="Also on this machine, used in place by `models use`")
    for name in ("name", "where", "size", "tokens/s"):
        table.add_column(name, justify="right" if name in {"size", "tokens/s"} else "left", overflow="fold")
    for row in (*listed["pulled"], *listed["found"]):
        size, speed = f"{row['bytes'] / GB:.2f} GB", f"{row['tokensPerSecond']:.1f}"
        table.add_row(row["name"], f"{row['place']}\n{row['path']}", size, speed)
    return table


def _in_use(settings: Settings) -> str | None:
    return None if is_demonstrator(settings) else settings.model.path or settings.model.name


def _row(entry: Entry, bytes_per_second: float, settings: Settings, store: Store) -> dict[str, Any]:
    path, n_kv_bytes = path_of_entry(entry, store), KV_BYTES[entry.shape]
    stored = store.find(entry.source)
    n_bytes = stored.manifest.n_bytes if stored is not None else entry.n_bytes
    revision = stored.manifest.revision if stored is not None else entry.source.revision
    return {
        "name": entry.name,
        "title": entry.title,
        "repository": entry.source.repository,
        "revision": revision,
        "isPinned": entry.source.is_pinned,
        "file": entry.source.file,
        "quantization": entry.quantization,
        "bytes": n_bytes,
        "memoryBytes": n_memory_bytes_of(n_bytes, n_kv_bytes),
        "tokensPerSecond": round(tokens_per_second(n_bytes, n_kv_bytes, bytes_per_second), 1),
        "sha256": entry.sha256 or None,
        "isVerified": entry.is_verified,
        "licence": {
            "key": entry.licence.key,
            "title": entry.licence.title,
            "url": entry.licence.url,
            "accepted": Acceptances().has(entry.name, entry.licence, revision),
        },
        "path": str(path) if path is not None else None,
        "place": None if path is None else HUB if path == in_hub_cache(entry.source) else "pulled",
        "inUse": not settings.model.path and settings.model.name == entry.name,
        "goodFor": entry.good_for,
    }


def _others_pulled(store: Store, bytes_per_second: float) -> list[dict[str, Any]]:
    """Return the downloaded models that are not in the catalogue."""
    rows = []
    for model in store.models():
        manifest = model.manifest
        if not manifest.name:
            speed = tokens_per_second(manifest.n_bytes, KV_BYTES["3b"], bytes_per_second)
            rows.append(
                {
                    "name": f"{manifest.repository}:{manifest.file}",
                    "place": "pulled",
                    "path": str(model.path),
                    "bytes": manifest.n_bytes,
                    "licence": manifest.licence,
                    "tokensPerSecond": round(speed, 1),
                }
            )
    return rows


def _found_row(found: FoundModel, bytes_per_second: float) -> dict[str, Any]:
    speed = tokens_per_second(found.file.n_bytes, found.file.n_kv_bytes, bytes_per_second)
    return {
        "name": found.name,
        "place": found.place,
        "path": str(found.path),
        "bytes": found.file.n_bytes,
        "architecture": found.file.architecture,
        "sha256": found.sha256 or None,
        "tokensPerSecond": round(speed, 1),
    }
