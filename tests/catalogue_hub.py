"""A fake hub with the catalogue's models, each of them the demonstrator under another name."""

from __future__ import annotations

from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.models.catalogue import entries
from tests.hub import COMMIT, FakeHub

NAME_IN_FILE = "StarCoder2 of the fake hub"
"""It has the length of the demonstrator's own name, so no other byte of the file has to change."""
OWN_NAME = b"starcoder-lsp demonstrator"


def catalogue_hub() -> FakeHub:
    content = DEMONSTRATOR.read_bytes()
    assert content.count(OWN_NAME) == 1
    content = content.replace(OWN_NAME, NAME_IN_FILE.encode())
    files: dict[tuple[str, str], bytes | int] = {}
    for entry in entries().values():
        files[entry.source.repository, entry.source.file] = content
    revisions = {"main", COMMIT, *(entry.source.revision for entry in entries().values())}
    licences = {repository: "bigcode-openrail-m" for repository, _ in files}
    return FakeHub(files, licences, revisions=revisions)
