"""Build prompts that are split at the cursor, as other completion engines do, from the same windows.

The prefix is all text of the window before the cursor. The suffix has as many tokens as ours. Each keystroke changes
the text before the suffix, so the suffix is evaluated again. The window's left edge stays as in our prompts, which
favours the split: other engines cut by characters and move it.
"""

from __future__ import annotations

from attrs import define, field

from starcoder_lsp.cli.bench.traces import Edit
from starcoder_lsp.context.window import normalized
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.engine.engine import GenerationRequest, Prompt
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.remote.client import RemoteEngine
from starcoder_lsp.engine.tokens import fit_head
from starcoder_lsp.prompting import CompletionRequest, PromptBuilder, choose_window
from starcoder_lsp.settings import Settings

TIMEOUT_MS = 120_000


@define(eq=False)
class SplitPrompts:
    """The prompts of one document, edit by edit."""

    prompts: PromptModel
    settings: Settings
    uri: str
    _builder: PromptBuilder = field(init=False)
    _documents: Documents = field(factory=Documents)

    def __attrs_post_init__(self) -> None:
        """Make the builder, which remembers the windows."""
        self._builder = PromptBuilder.reading(self.prompts)

    def after(self, edit: Edit) -> Prompt:
        """Return the prompt for the text and the cursor after an edit."""
        snapshot = self._documents.open(self.uri, "", 1, edit.text)
        cursor_byte = snapshot.text.byte_at(edit.line, edit.character, "utf-32")
        window = choose_window(CompletionRequest(snapshot, cursor_byte, self._builder, self.settings))
        self._builder.anchors.remember(window)
        tokenizer, behind = self._builder.tokenizer, normalized(snapshot.text.data[cursor_byte:])
        n_suffix = max(len(window.suffix.ids), 1)
        suffix = behind[: fit_head(tokenizer, behind, n_suffix)]
        prefix_ids = (*window.prefix.ids, *window.middle.ids)
        return self.prompts.fim.infill(prefix_ids, tokenizer.encode(suffix))


async def evaluate(engine: RemoteEngine, document: str, prompt: Prompt) -> None:
    """Let the engine evaluate a prompt, and write one token. Raises `EngineError`."""
    await engine.generate(GenerationRequest(document, prompt, 1, TIMEOUT_MS)).ended()
