"""A model family takes one row: with one for Qwen2.5-Coder, a small file of that architecture is read and tokenized.

The row is not in the package, because it was never tried with the model's real weights.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Regex
from tokenizers import Tokenizer as Bpe
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Cuts
from tokenizers.trainers import BpeTrainer

from starcoder_lsp.engine.families import FAMILIES
from starcoder_lsp.engine.fim import OtherFile
from starcoder_lsp.engine.prompt_model import PromptModel, read_prompt_model
from tests.unit.families import QWEN, QWEN_SPLIT
from tests.unit.gguf_files import Tensor, gguf
from tests.unit.test_caching_tokenizer import CODE, GLUING
from tests.unit.test_tokenizer import llama

N_EMBD, N_FF = 32, 64
MARKERS = list(QWEN.markers.values())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file with a vocabulary that is trained on this project's tests, and weights of zeros."""
    bpe = Bpe(BPE())
    cuts = [Split(Regex(QWEN_SPLIT), behavior="isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    bpe.pre_tokenizer = Cuts(cuts)
    trainer = BpeTrainer(vocab_size=2000, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    bpe.train_from_iterator(CODE.split("\n\n\n"), trainer)
    spelled = [bpe.id_to_token(i) for i in range(bpe.get_vocab_size())]
    merges = [" ".join(m) if isinstance(m, list) else m for m in json.loads(bpe.to_str())["model"]["merges"]]
    tokens = [*spelled, *MARKERS]
    metadata = {
        "general.architecture": "qwen2",
        "general.name": "tiny Qwen",
        "qwen2.context_length": 512,
        "qwen2.embedding_length": N_EMBD,
        "qwen2.block_count": 1,
        "qwen2.feed_forward_length": N_FF,
        "qwen2.attention.head_count": 2,
        "qwen2.attention.head_count_kv": 1,
        "qwen2.attention.layer_norm_rms_epsilon": 1e-6,
        "qwen2.rope.freq_base": 1e6,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * len(spelled) + [3] * len(MARKERS),
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": len(spelled),
    }
    shapes = {
        "token_embd.weight": (N_EMBD, len(tokens)),
        "output_norm.weight": (N_EMBD,),
        "blk.0.attn_norm.weight": (N_EMBD,),
        "blk.0.ffn_norm.weight": (N_EMBD,),
        "blk.0.attn_q.weight": (N_EMBD, N_EMBD),
        "blk.0.attn_q.bias": (N_EMBD,),
        "blk.0.attn_k.weight": (N_EMBD, N_EMBD // 2),
        "blk.0.attn_k.bias": (N_EMBD // 2,),
        "blk.0.attn_v.weight": (N_EMBD, N_EMBD // 2),
        "blk.0.attn_v.bias": (N_EMBD // 2,),
        "blk.0.attn_output.weight": (N_EMBD, N_EMBD),
        "blk.0.ffn_gate.weight": (N_EMBD, N_FF),
        "blk.0.ffn_up.weight": (N_EMBD, N_FF),
        "blk.0.ffn_down.weight": (N_FF, N_EMBD),
    }
    file = tmp_path_factory.mktemp("models") / "qwen.gguf"
    file.write_bytes(gguf(metadata, [Tensor(name, shape) for name, shape in shapes.items()]))
    return file


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[PromptModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "qwen2", QWEN)
        yield read_prompt_model(path, 512)


def test_ids_equal_those_of_llama_cpp(path: Path, model: PromptModel) -> None:
    rng = random.Random(3)
    texts = [CODE[:50_000], *("".join(rng.choices([*GLUING, "'s", "1", "  "], k=30)) for _ in range(2000))]
    expected = llama(path, texts, MARKERS)
    assert [list(model.tokenizer.encode(text.encode())) for text in texts] == expected["ids"]
    assert [model.tokenizer.marker(marker) for marker in MARKERS] == expected["markers"]
    assert any(b")\n" in piece for piece in model.tokenizer.pieces), "no newline behind punctuation in any token"


def test_prompts_have_the_exact_ids(model: PromptModel) -> None:
    end, prefix, middle, suffix, _pad, repo, file = (model.tokenizer.marker(marker) for marker in MARKERS)
    encode = model.tokenizer.encode
    assert model.fim.infill((10,), (20,), (30,)).ids == (prefix, 10, suffix, 20, middle, 30)
    frame = model.fim.repository_frame(encode, "r", "c.py", [OtherFile("a.py", (41,)), OtherFile("b.py", (51,))])
    name, a, b, c, line = (encode(text) for text in (b"r\n", b"a.py\n", b"b.py\n", b"c.py\n", b"\n"))
    ids = (repo, *name, file, *a, 41, *line, file, *b, 51, *line, file, *c, prefix, 10, suffix, 20, middle)
    assert model.fim.infill((10,), (20,), frame=frame).ids == ids
    assert end in model.fim.stop_ids
