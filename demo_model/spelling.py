"""Spells the tokens of one vocabulary with those of another."""

from __future__ import annotations

from tokenizers import Tokenizer, models


def spellings(old: models.BPE, new: Tokenizer) -> list[list[int]]:
    """For each token of the new vocabulary the ids of the old tokens that spell it, one if both have it."""
    found = []
    for i in range(new.get_vocab_size()):
        token = new.id_to_token(i)
        same = old.token_to_id(token)
        found.append([same] if same is not None else [part.id for part in old.tokenize(token)])
    return found
