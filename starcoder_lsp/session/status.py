"""The server's status in one word: loading, ready, thinking, off, error."""

from __future__ import annotations

from collections.abc import Callable

from attrs import asdict, define, field, frozen


@frozen
class Status:
    """The parameters of `starcoder/didChangeStatus`. `kind` is the word, `message` a line for the user."""

    kind: str
    message: str
    model: str | None


@define
class StatusReporter:
    """Derives the status from the state of model, settings and documents, and calls `on_change` when it changes."""

    on_change: Callable[[Status], None] = lambda _status: None
    _is_enabled: bool = True
    _is_loading: bool = True
    _error: str = ""
    _model: str | None = None
    _note: str = ""
    _n_under_way: int = 0
    _waiting: tuple[str, ...] = ()
    _reported: Status | None = field(default=None)

    @property
    def now(self) -> Status:
        """Return the status."""
        if self._error:
            return Status("error", self._error, self._model)
        if not self._is_enabled:
            return Status("off", "turned off by starcoder.enabled or starcoder.toggle", self._model)
        if self._is_loading:
            return Status("loading", "the model is being loaded", self._model)
        if self._n_under_way:
            return Status("thinking", "a suggestion is being written", self._model)
        if self._waiting:
            names = ", ".join(uri.rpartition("/")[2] for uri in self._waiting[:3])
            return Status("ready", f"no suggestions in {names} until the editor sends the whole text", self._model)
        return Status("ready", self._note, self._model)

    def enable(self, *, is_enabled: bool) -> None:
        """Note whether the settings allow suggestions."""
        self._is_enabled = is_enabled
        self._report()

    def wait_for(self, uris: tuple[str, ...]) -> None:
        """Note the URIs of documents that are out of sync and wait for their whole text."""
        self._waiting = uris
        self._report()

    def load(self) -> None:
        """Note that a model is being loaded."""
        self._is_loading, self._error, self._model = True, "", None
        self._report()

    def loaded(self, model: str, note: str | None = None) -> None:
        """Note that the model is loaded. `note` is a line about it for the user; by default it stays as before."""
        self._is_loading, self._error, self._model = False, "", model
        self._note = self._note if note is None else note
        self._report()

    def fail(self, error: str) -> None:
        """Note that the model is not available, and why."""
        self._is_loading, self._error = False, error
        self._report()

    def count_running(self, n_more: int) -> None:
        """Note that `n_more` generations began, or ended if it is negative."""
        self._n_under_way += n_more
        self._report()

    def _report(self) -> None:
        if self.now != self._reported:
            self._reported = self.now
            self.on_change(self.now)

    def report(self) -> dict[str, str | None]:
        """Return the status as JSON."""
        return asdict(self.now)
