"""A model's vocabulary without its weights: from a GGUF file, or from the `tokenizer.json` of a repository.

It serves models that run on a server elsewhere. `tokenizer.json` is the file of the `tokenizers` library:
`model.vocab` and `model.merges` of a byte-level BPE, special tokens in `added_tokens`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.families import FAMILIES, architecture_of
from starcoder_lsp.engine.gguf import Cursor, CutError, DamagedError
from starcoder_lsp.engine.model_checks import RefusedError, check_architecture, check_start
from starcoder_lsp.engine.model_file import parse_metadata
from starcoder_lsp.engine.token_bytes import CONTROL, NORMAL
from starcoder_lsp.engine.tokenizer import GgufTokenizer, build_tokenizer, read_tokenizer

MAX_VOCABULARY_BYTES = 64 << 20
"""The most bytes of either kind of file: four times the largest vocabulary in use. Of a GGUF file no more is read."""
MAX_TOKENS = 1 << 20
WHERE = "the tokenizer.json of the model's repository, or a GGUF file of the model"


class VocabularyError(EngineError):
    """A file is no usable vocabulary. The error's text is one line for a user."""


def read_vocabulary(path: Path) -> tuple[str, GgufTokenizer]:
    """Read the architecture and the vocabulary of a model; a leading `~` is the home folder.

    Raises `VocabularyError`.
    """
    try:
        path = path.expanduser()
        if not path.is_file():
            _refuse(path, "is not there" if not path.exists() else "is not a file")
        with path.open("rb") as file:
            data = file.read(MAX_VOCABULARY_BYTES)
        return _from_gguf(data) if data.startswith(b"GGUF") else _from_json(json.loads(data))
    except VocabularyError:
        raise
    except (OSError, RuntimeError) as error:
        _refuse(path, f"cannot be read ({getattr(error, 'strerror', None) or error})")
    except RefusedError as error:
        _refuse(path, error.reason)
    except CutError:
        _refuse(path, "is cut off")
    except DamagedError as error:
        _refuse(path, f"is damaged: {error}")
    except (ValueError, TypeError, RecursionError):  # no JSON, or values of other types
        _refuse(path, "is neither a GGUF file nor a tokenizer.json")


def _from_gguf(data: bytes) -> tuple[str, GgufTokenizer]:
    check_start(data)
    metadata, _n_tensors = parse_metadata(Cursor(data))
    architecture = str(metadata.get("general.architecture"))
    check_architecture(architecture)
    return architecture, read_tokenizer(metadata, data, FAMILIES[architecture])


def _from_json(content: Any) -> tuple[str, GgufTokenizer]:
    """Build the tokenizer of a `tokenizer.json`. Raises `DamagedError`."""
    model = content.get("model") if isinstance(content, Mapping) else None
    vocab, merges = (model.get("vocab"), model.get("merges")) if isinstance(model, Mapping) else (None, None)
    added = content.get("added_tokens", []) if isinstance(content, Mapping) else []
    if not isinstance(vocab, Mapping) or not isinstance(merges, list) or not isinstance(added, list):
        message = "it has no model.vocab and model.merges of a byte-level BPE"
        raise DamagedError(message)
    special = {
        row["content"]: row["id"] for row in added if isinstance(row, Mapping) and {"content", "id"} <= row.keys()
    }
    ids = {**vocab, **special}
    if not all(isinstance(i, int) and 0 <= i < MAX_TOKENS for i in ids.values()) or len(set(ids.values())) != len(ids):
        message = "the ids of its vocabulary are not distinct small numbers"
        raise DamagedError(message)
    n_tokens = max(ids.values(), default=-1) + 1
    if n_tokens != len(ids):
        message = f"its vocabulary has {len(ids):,} tokens with ids up to {n_tokens - 1:,}"
        raise DamagedError(message)
    tokens, types = [b""] * n_tokens, [NORMAL] * n_tokens
    for text, token_id in ids.items():
        tokens[token_id] = str(text).encode("utf-8", "surrogatepass")
        types[token_id] = CONTROL if text in special else NORMAL
    pairs = [" ".join(pair) if isinstance(pair, list) else str(pair) for pair in merges]
    architecture = architecture_of(ids.keys())
    spelled_pairs = [pair.encode("utf-8", "surrogatepass") for pair in pairs]
    return architecture, build_tokenizer(tokens, types, spelled_pairs, FAMILIES[architecture])


def _refuse(path: Path, what: str) -> NoReturn:
    message = f"The vocabulary {path} {what}. Set engine.vocabulary to {WHERE}."
    raise VocabularyError(message)
