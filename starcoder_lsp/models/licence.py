"""Record the licences that the user has accepted: a name, a revision and a date for each model."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import field, frozen

from starcoder_lsp.models.catalogue import Licence, licences
from starcoder_lsp.models.state import read_json, state_path, write_json

FILE_NAME: Final = "licences.json"
UNKNOWN: Final = "unknown"


@frozen
class Acceptances:
    """The accepted licences, in `licences.json` of the user's state folder."""

    path: Path = field(factory=lambda: state_path(FILE_NAME))

    def has(self, model: str, licence: Licence, revision: str) -> bool:
        """Return whether the user accepted this licence for this revision of a model."""
        entry = read_json(self.path).get(model)
        accepted = entry if isinstance(entry, dict) else {}
        return accepted.get("licence") == licence.key and accepted.get("revision") == revision

    def add(self, model: str, licence: Licence, revision: str) -> None:
        """Record an acceptance with today's date. Raises `OSError`."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"licence": licence.key, "url": licence.url, "revision": revision, "accepted": now}
        write_json(self.path, {**read_json(self.path), model: entry})


def licence_of(key: str, repository: str, endpoint: str) -> Licence:
    """Return a licence by the key that a repository states. The catalogue need not know it."""
    known = licences().get(key.lower())
    if known is not None:
        return known
    url = f"{endpoint}/{repository}"
    if not key or key.lower() == UNKNOWN:
        asks = (
            f"The repository {repository} names no licence.",
            "Without one you may not assume any right to use the model.",
            "Its page may say more.",
            "A model that was derived from StarCoder2 is under BigCode OpenRAIL-M as well.",
            "Go on only if you know that you may use it.",
        )
        return Licence(UNKNOWN, "no licence named", url, asks)
    asks = (
        f"The repository {repository} names the licence {key!r}.",
        "This program has no summary of it.",
        "Read the text on the repository's page.",
        "A model that was derived from StarCoder2 is under BigCode OpenRAIL-M as well.",
        "Go on only if you accept it.",
    )
    return Licence(key, key, url, asks)
