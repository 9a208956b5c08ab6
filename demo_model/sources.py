"""Where the corpus comes from: packages of three registries, fetched by the registries' own clients.

`pip` fetches wheels, `npm` tarballs, `apt-get` the packages of Debian 12: source packages (`debian-source`), and binary
ones (`debian`) where those hold sources too, as libraries of Go, Rust, Ruby and PHP do. Nothing is unpacked onto the
disk and nothing of a package is run. Archives are kept in the work folder, so that a second run needs no network.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

CORPUS = Path(__file__).parent / "corpus.toml"
APT_SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources")
INSTALLED = re.compile(
    r"^usr/(share/(cargo/registry/[^/]+|gocode/src/[^/]+/[^/]+/[^/]+|rubygems-integration/all/gems/[^/]+|php|ruby)"
    r"|lib/ruby/vendor_ruby|share|lib)/"
)
"""Where Debian installs sources; what comes behind is about the path in the project's own folder."""
LARGEST_FILE = 200_000
"""Bytes; larger files are data, or were put together by a program."""


@dataclass(frozen=True)
class Package:
    """One pinned package, a row of `corpus.toml`."""

    registry: str
    name: str
    version: str
    licence: str
    with_tests: bool = False
    """True if files in folders of tests are wanted too: most SQL that is published at all is in such folders."""
    only: str = ""
    """A regular expression that paths must match; empty for every path."""

    @property
    def stem(self) -> str:
        """The name of the folder that its archive is kept in."""
        return re.sub(r"[^\w.+-]+", "_", f"{self.registry}-{self.name}-{self.version}")


def read_corpus() -> dict[str, Any]:
    """`corpus.toml`: its three tables of packages as lists of `Package`, and the rest as it stands there."""
    corpus = tomllib.loads(CORPUS.read_text("utf-8"))
    for table in ("train", "held_out", "reserved"):
        corpus[table] = [Package(**row) for row in corpus[table]]
    return corpus


def apt_environment(folder: Path) -> dict[str, str]:
    """Make a private configuration of apt with new lists of all packages, and return the environment that selects it.

    The machine's own lists may be old, and often name only binary packages; these are from the same places. No rights
    are needed, and nothing outside `folder` is written. Raises `subprocess.CalledProcessError` if they cannot be had.
    """
    settings = folder / "apt.conf"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not settings.exists():
            unproven = settings.with_suffix(".part")
            for part in ("sources", "lists/partial", "cache/archives/partial"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            for source in map(Path, APT_SOURCES):
                if source.exists():
                    (folder / "sources" / source.name).write_text(with_sources(source.read_text("utf-8")))
            unproven.write_text(
                f'Dir::Etc::SourceList "{folder}/sources/sources.list";\n'
                f'Dir::Etc::SourceParts "{folder}/sources";\n'
                f'Dir::State "{folder}";\nDir::State::Lists "{folder}/lists";\nDir::Cache "{folder}/cache";\n'
                'APT::Sandbox::User "";\n'
            )
            subprocess.run(["apt-get", "update", "-qq"], env=os.environ | {"APT_CONFIG": str(unproven)}, check=True)  # noqa: S607
            unproven.replace(settings)
    return os.environ | {"APT_CONFIG": str(settings)}


def with_sources(servers: str) -> str:
    """Add source packages to apt's list of servers, in both of its formats (sources.list(5))."""
    lines = [
        re.sub(r"^Types:\s*deb\s*$", "Types: deb deb-src", line)
        + (f"\n{line.replace('deb', 'deb-src', 1)}" if re.match(r"deb\s", line) else "")
        for line in servers.splitlines()
    ]
    return "\n".join([*lines, ""])


def fetch(package: Package, folder: Path) -> Path:
    """Fetch the archive of `package` into `folder`, unless it is there, and return it.

    Raises `subprocess.CalledProcessError` if the registry does not have it.
    """
    target = folder / package.stem
    if not list(target.glob("*")):
        part = folder / f"{package.stem}.part"
        part.mkdir(parents=True, exist_ok=True)
        if package.registry == "pypi":
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
            command += ["--ignore-requires-python", "-d", str(part), f"{package.name}=={package.version}"]
            subprocess.run(command, check=True)
        elif package.registry == "npm":
            command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(part)]
            subprocess.run([*command, f"{package.name}@{package.version}"], check=True, stdout=subprocess.DEVNULL)
        else:
            action = ["source", "--download-only"] if package.registry == "debian-source" else ["download"]
            command = ["apt-get", *action, "-qq", f"{package.name}={package.version}"]
            subprocess.run(command, cwd=part, env=apt_environment(folder / "apt"), check=True)
        part.replace(target)
    archives = [path for path in sorted(target.glob("*")) if path.suffix in {".whl", ".tgz", ".deb"}]
    upstream = re.compile(r"(?<!\.debian)\.tar\.(gz|xz|bz2)$")
    archives += [path for path in sorted(target.glob("*.tar.*")) if upstream.search(path.name)]
    return archives[0]  # of several upstream tarballs the main one comes first in the alphabet


def read(package: Package, archive: Path) -> Iterator[tuple[str, str]]:
    """Paths and texts of the files of `archive` that may be text, in no particular order."""
    wanted = re.compile(package.only)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                if entry.file_size <= LARGEST_FILE and wanted.search(entry.filename):
                    yield entry.filename, wheel.read(entry).decode("utf-8", "replace")
        return
    stream = io.BytesIO(data_of_deb(archive.read_bytes())) if archive.suffix == ".deb" else None
    with tarfile.open(None if stream else archive, fileobj=stream) as tarball:
        for member in tarball:
            path = member.name.removeprefix("./")
            path = INSTALLED.sub("", path) if stream else path.partition("/")[2]
            if member.isfile() and path and member.size <= LARGEST_FILE and wanted.search(path):
                data = tarball.extractfile(member)
                if data is not None:
                    yield path, data.read().decode("utf-8", "replace")


def data_of_deb(deb: bytes) -> bytes:
    """The inner archive `data.tar.*` of a Debian package, which is an archive of Unix's `ar`."""
    at = len(b"!<arch>\n")
    while at < len(deb):
        name, size = deb[at : at + 16].strip(), int(deb[at + 48 : at + 58])
        at += 60
        if name.startswith(b"data.tar"):
            return deb[at : at + size]
        at += size + size % 2
    msg = "no data.tar in this package"
    raise ValueError(msg)
