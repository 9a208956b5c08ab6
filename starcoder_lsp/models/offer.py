"""Record whether the editor may offer a model: not again after the user has chosen "Not now"."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import field, frozen

from starcoder_lsp.models.state import read_json, state_path, write_json

FILE_NAME: Final = "offer.json"


@frozen
class Offer:
    """The record of the user's answer, in `offer.json` of the user's state folder."""

    path: Path = field(factory=lambda: state_path(FILE_NAME))

    @property
    def was_declined(self) -> bool:
        """Return whether the user has declined the offer."""
        return "declined" in read_json(self.path)

    @property
    def was_mentioned(self) -> bool:
        """Return whether a client without buttons has shown the offer."""
        return "mentioned" in read_json(self.path)

    def decline(self) -> None:
        """Record that the user declines the offer, for good."""
        self._note("declined")

    def mention(self) -> None:
        """Record that a client without buttons has shown the offer, which is then not repeated in such clients."""
        self._note("mentioned")

    def _note(self, what: str) -> None:
        """Add a date. A file that cannot be written costs one more message."""
        with suppress(OSError):
            write_json(self.path, {**read_json(self.path), what: datetime.now(UTC).isoformat(timespec="seconds")})
