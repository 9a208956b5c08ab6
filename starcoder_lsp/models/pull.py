"""Download a model in two steps: make a plan that the user can confirm, then download all of its files.

If two processes pull one file at once, the second waits for the first, shows its progress, and takes over if it fails.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from starcoder_lsp.models.catalogue import DEFAULT_REVISION, Entry, Licence, Source, entries, find_entry, parse_source
from starcoder_lsp.models.download import Patience, download, label_path, n_bytes_here, part_path
from starcoder_lsp.models.environment import Environment
from starcoder_lsp.models.errors import ModelsError
from starcoder_lsp.models.hub import EntryNotFoundError, Hub, RemoteFile, RevisionNotFoundError, which_file
from starcoder_lsp.models.licence import licence_of
from starcoder_lsp.models.store import Manifest, Store, StoredFile, StoredModel, hash_file, local_name, manifest_path
from starcoder_lsp.models.transport import READ_S, TransportError, open_client

if TYPE_CHECKING:
    from filelock import BaseFileLock

MIN_FREE_BYTES: Final = 256 << 20
"""The free space that a download leaves on the disk."""
POLL_S: Final = 0.2
"""The interval at which a waiting pull checks on the other one."""
GIB: Final = 2**30

_SPLIT: Final = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")

OnProgress = Callable[[int, int], None]
"""Called with the number of bytes on the disk, and of all bytes."""


@frozen
class Wanted:
    """A file of a repository that a user asked for, and its entry in the catalogue if it has one."""

    source: Source
    entry: Entry | None = None

    @classmethod
    def of(cls, name: str) -> Wanted:
        """Read a name of the catalogue, or `ORG/REPO:FILE`. Raises `ModelsError`."""
        if "/" in name:
            source = parse_source(name)
            if source is None:
                message = f"{name!r} is neither a name of the catalogue nor ORG/REPO:FILE"
                raise ModelsError(message)
            known = next((entry for entry in entries().values() if _is_same(entry.source, source)), None)
            return cls(known.source if known else source, known)
        entry = find_entry(name)
        return cls(entry.source, entry)

    @property
    def name(self) -> str:
        """The model's name in the record of licences."""
        return self.entry.name if self.entry is not None else str(self.source)


@frozen
class Plan:
    """The files of a pull at a commit, their licence, and notes for the user.

    `stored` is the model if it is here already, whole and at this commit.
    """

    wanted: Wanted
    files: tuple[RemoteFile, ...]
    licence: Licence
    notes: tuple[str, ...] = ()
    stored: StoredModel | None = None

    @property
    def revision(self) -> str:
        """The commit of the files."""
        return self.files[0].source.revision if self.files else self.wanted.source.revision

    @property
    def n_bytes(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.n_bytes for file in self.files)


@frozen
class Puller:
    """The hub and the store of models."""

    store: Store = field(factory=Store)
    environment: Environment = field(factory=Environment.read)
    read_s: float = READ_S
    patience: Patience = field(factory=Patience)

    async def plan(self, wanted: Wanted) -> Plan:
        """Request commit, sizes and hashes from the hub, except for a stored model. Raises `ModelsError`."""
        stored = self.store.find(wanted.source)
        is_current = stored is not None and (
            not wanted.source.is_pinned or stored.manifest.revision == wanted.source.revision
        )
        if stored is not None and (is_current or self.environment.is_offline):
            licence = licence_of(stored.manifest.licence, wanted.source.repository, self.environment.endpoint)
            return Plan(wanted, (), licence, stored=stored)
        self.environment.refuse_offline(wanted.name)
        async with self._hub() as hub:
            return await self._ask(hub, wanted)

    async def pull(self, plan: Plan, on_progress: OnProgress = lambda _n, _all: None) -> StoredModel:
        """Download the files of the plan; return the model. The next pull continues a cancelled or failed one.

        Raises `ModelsError`.
        """
        if plan.stored is not None:
            return plan.stored
        path = self.store.path_of(plan.files[0].source)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            async with self._only_one(path, plan, on_progress):
                found = self.store.find(plan.files[0].source)
                if found is not None and found.manifest.revision == plan.revision:
                    return found  # the other one brought it
                self._check_space(path.parent, plan)
                return await self._download_all(path, plan, on_progress)
        except OSError as error:
            message = f"{error.filename or path}: {error.strerror or error}"
            raise ModelsError(message) from error

    async def _ask(self, hub: Hub, wanted: Wanted) -> Plan:
        notes: list[str] = []
        source, entry = wanted.source, wanted.entry
        names: tuple[str, ...] = ()
        if entry is None:
            names, key = await hub.list_files(source)
            if source.file not in names:
                raise which_file(source, names)
            licence = licence_of(key, source.repository, self.environment.endpoint)
        else:
            licence = entry.licence
        try:
            first = await hub.describe(source)
        except RevisionNotFoundError:
            if entry is None or entry.is_verified:
                raise
            notes.append(f"the revision that the catalogue names is not there; taking {DEFAULT_REVISION}")
            first = await hub.describe(evolve(source, revision=DEFAULT_REVISION))
        except EntryNotFoundError as error:
            raise which_file(source, (await hub.list_files(source))[0]) from error
        at_commit = [evolve(first.source, file=name) for name in part_names(source.file)]
        files = [first, *[await hub.describe(each) for each in at_commit[1:]]]
        notes += _differences(entry, first)
        return Plan(wanted, tuple(files), licence, tuple(notes))

    async def _download_all(self, path: Path, plan: Plan, on_progress: OnProgress) -> StoredModel:
        """Download one file after the other. The manifest, which is written last, declares the model complete."""
        manifest_path(path).unlink(missing_ok=True)  # of another revision: its file is about to be replaced
        files: list[StoredFile] = []
        async with self._hub() as hub:
            for file in plan.files:
                target = path.with_name(local_name(file.source.file))
                n_before = sum(each.n_bytes for each in files)
                sha256 = await self._bring(hub, file, target, partial(_tell, on_progress, n_before, plan.n_bytes))
                files.append(StoredFile(file.source.file, file.n_bytes, sha256))
        manifest = Manifest(
            repository=plan.wanted.source.repository,
            revision=plan.revision,
            file=plan.wanted.source.file,
            licence=plan.licence.key,
            pulled=datetime.now(UTC).isoformat(timespec="seconds"),
            files=tuple(files),
            name=plan.wanted.entry.name if plan.wanted.entry else "",
        )
        return self.store.add(path, manifest)

    async def _bring(self, hub: Hub, file: RemoteFile, target: Path, on_bytes: Callable[[int], None]) -> str:
        """Download a file unless it is in place, and return its sha256. A killed pull may have completed it."""
        with suppress(OSError):
            if file.sha256 and target.stat().st_size == file.n_bytes:  # noqa: ASYNC240  a moment
                sha256 = await asyncio.to_thread(hash_file, target)
                if sha256 == file.sha256:
                    on_bytes(file.n_bytes)
                    return sha256
        return await download(hub, file, target, on_bytes, self.patience)

    def _check_space(self, folder: Path, plan: Plan) -> None:
        """Raise `ModelsError` if the rest of the files does not fit the disk."""
        n_here = sum(n_bytes_here(folder / local_name(file.source.file), file) for file in plan.files)
        n_needed, n_free = plan.n_bytes - n_here, shutil.disk_usage(folder).free
        if n_free < n_needed + MIN_FREE_BYTES:
            message = (
                f"{folder}: {n_needed / GIB:.2f} GiB are needed there, and {n_free / GIB:.2f} GiB are free"
                f" ({MIN_FREE_BYTES / GIB:.2f} GiB are left alone)"
            )
            raise ModelsError(message)

    @asynccontextmanager
    async def _hub(self) -> AsyncIterator[Hub]:
        try:
            async with open_client(self.read_s) as client:
                yield Hub(client, self.environment)
        except TransportError as error:
            why = str(error) or type(error).__name__
            message = f"{self.environment.endpoint} cannot be reached: {why}"
            raise ModelsError(message) from error

    @asynccontextmanager
    async def _only_one(self, path: Path, plan: Plan, on_progress: OnProgress) -> AsyncIterator[None]:
        """Wait until no other process pulls this file. The system frees the lock of one that is killed."""
        from filelock import FileLock, Timeout

        lock: BaseFileLock = FileLock(path.with_name(f".{path.name}.lock"))
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:
                on_progress(_n_bytes_of_other(path, plan), plan.n_bytes)
                await asyncio.sleep(POLL_S)
        try:
            yield
        finally:
            lock.release()


def _tell(on_progress: OnProgress, n_before: int, n_all: int, n_bytes: int) -> None:
    on_progress(n_before + n_bytes, n_all)


def part_names(file: str) -> list[str]:
    """Return the names of all parts of a split file, or the name alone. Raises `ModelsError` if it is not the first."""
    match = _SPLIT.fullmatch(file)
    if match is None:
        return [file]
    count, stem = int(match["count"]), match["stem"]
    if int(match["number"]) != 1:
        message = f"{file} is a later part of a split model; name the first one, {stem}-00001-of-{count:05}.gguf"
        raise ModelsError(message)
    return [f"{stem}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


def remove(model: StoredModel) -> None:
    """Delete a model with its manifest and its partial files. Raises `OSError`."""
    manifest_path(model.path).unlink(missing_ok=True)
    for path in model.paths:
        for each in (path, part_path(path), label_path(path), path.with_name(f".{path.name}.lock")):
            each.unlink(missing_ok=True)
    with suppress(OSError):
        model.path.parent.rmdir()  # which other files of the repository prevent


def _n_bytes_of_other(path: Path, plan: Plan) -> int:
    """Return the number of bytes that another process has downloaded."""
    n_bytes = 0
    for file in plan.files:
        target = path.with_name(local_name(file.source.file))
        with suppress(OSError):
            n_bytes += target.stat().st_size if target.exists() else part_path(target).stat().st_size
    return min(n_bytes, plan.n_bytes)


def _differences(entry: Entry | None, file: RemoteFile) -> list[str]:
    """Return notes on differences between hub and catalogue. Raises `ModelsError` if a verified value differs."""
    if not file.sha256:
        return [f"the hub states no sha256 of {file.source}: only its size can be checked"]
    if entry is None or not entry.sha256 or entry.sha256 == file.sha256:
        return [f"sha256 {file.sha256}"]
    if entry.is_verified:
        message = (
            f"{file.source} is not the file that the catalogue knows: the hub states the sha256 {file.sha256}, the"
            f" catalogue {entry.sha256}. Nothing is downloaded"
        )
        raise ModelsError(message)
    return [f"sha256 {file.sha256}, as the hub states; the catalogue had an unverified {entry.sha256}"]


def _is_same(one: Source, other: Source) -> bool:
    is_any = other.revision in {DEFAULT_REVISION, one.revision}
    return is_any and one.repository.lower() == other.repository.lower() and one.file == other.file
