"""The value that each filter takes and returns."""

from __future__ import annotations

from attrs import frozen


@frozen
class Suggestion:
    """`text` is inserted at the cursor in place of `n_replaced_bytes` behind it, which are closing brackets or quotes.

    `stop_reason` says why the model ended, see `engine.CompletionOutput`.
    """

    text: bytes
    stop_reason: str = "stop_token"
    n_replaced_bytes: int = 0

    @property
    def is_unfinished(self) -> bool:
        """Return whether the model was stopped before it ended the text, so that the last line may be unfinished."""
        return self.stop_reason in ("max_tokens", "timeout")

    def cut(self, end_byte: int | None) -> Suggestion:
        """Return the suggestion up to a byte of its text, all of it for `None`. A blank one replaces nothing."""
        if end_byte is None:
            return self
        text = self.text[:end_byte]
        n_replaced_bytes = self.n_replaced_bytes if text.strip() else 0
        if len(text) == len(self.text) and n_replaced_bytes == self.n_replaced_bytes:
            return self
        return Suggestion(text, self.stop_reason, n_replaced_bytes)

    def replacing(self, n_bytes: int) -> Suggestion:
        """Return the suggestion in place of `n_bytes` behind the cursor."""
        return self if n_bytes == self.n_replaced_bytes else Suggestion(self.text, self.stop_reason, n_bytes)


def n_whole_bytes(text: bytes) -> int:
    """Return the number of bytes of `text` before an unfinished character, or a byte that is no UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(text)
