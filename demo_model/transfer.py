"""Begins a model with the weights of a smaller one that has another vocabulary.

A token of the new vocabulary gets the mean of the embeddings of the old tokens that spell it, as in Fast Vocabulary
Transfer (Gee et al. 2022, arXiv:2402.09977); one that both have keeps its own. Blocks that the old model lacks come
behind its own, with output matrices of zero, so they change nothing until they have learned.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import torch
from tokenizers import Tokenizer, models
from torch import Tensor

from demo_model.export import read_back
from demo_model.model import Shape, StarCoder2
from demo_model.spelling import spellings


def read_vocabulary(path: Path) -> models.BPE:
    """The vocabulary of an exported file."""
    reader = gguf.GGUFReader(path)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = reader.fields["tokenizer.ggml.merges"].contents()
    pairs = [tuple(merge.split(" ")) for merge in merges]
    return models.BPE({token: i for i, token in enumerate(tokens)}, pairs)


def transfer(path: Path, shape: Shape, tokenizer: Tokenizer) -> StarCoder2:
    """A model of `shape` that begins as the exported one.

    Raises `ValueError` where another dimension than those of vocabulary and layers differs, or layers would be lost.
    """
    old, parameters = read_back(path)
    if Shape(**{**vars(old), "n_vocab": shape.n_vocab, "n_layers": shape.n_layers}) != shape:
        msg = f"{path.name} is a model of {old}, which cannot become one of {shape}"
        raise ValueError(msg)
    if old.n_layers > shape.n_layers:
        msg = f"{path.name} has {old.n_layers} layers, more than {shape.n_layers}"
        raise ValueError(msg)
    model = StarCoder2(shape)
    for block in model.blocks[old.n_layers :]:
        for matrix in (block.attn.o, block.down):
            torch.nn.init.zeros_(matrix.weight)
    embedding = parameters["embedding.weight"]
    rows: list[Tensor] = [embedding[ids].mean(dim=0) for ids in spellings(read_vocabulary(path), tokenizer)]
    model.load_state_dict({**model.state_dict(), **parameters, "embedding.weight": torch.stack(rows)})
    return model
