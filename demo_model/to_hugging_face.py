"""`python -m demo_model.to_hugging_face IN.gguf FOLDER`: a StarCoder2 GGUF file as a Hugging Face folder, for vLLM.

`Starcoder2ForCausalLM` in float32: tensors are dequantized, the tokenizer is built from the file's own tokens and
merges. Names of tensors: https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/tensor_mapping.py. Needs
`gguf`, `numpy` and `safetensors`, which come with vLLM but for the first.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import save_file

OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}


def convert(source: Path, folder: Path) -> None:
    """Write config, weights and tokenizer. Raises `KeyError` for a tensor or key that StarCoder2 has not."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(source)
    weights = dict(map(converted, reader.tensors))
    config = config_of(reader, is_tied="lm_head.weight" not in weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    ends = {key: config[key] for key in ("bos_token_id", "eos_token_id")}
    tokens = field(reader, "tokenizer.ggml.tokens")
    end = tokens[config["eos_token_id"]]
    files = {
        "config.json": config,
        "generation_config.json": ends,
        "tokenizer.json": tokenizer_of(reader),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": end,
            "eos_token": end,
            "unk_token": end,
            "model_max_length": config["max_position_embeddings"],
            "clean_up_tokenization_spaces": False,
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False))


def field(reader: gguf.GGUFReader, key: str) -> Any:
    """Return a metadata value."""
    return reader.fields[key].contents()


def converted(tensor: gguf.ReaderTensor) -> tuple[str, np.ndarray]:
    """Return a tensor's name in the Hugging Face form, and its values in float32."""
    first, *rest = tensor.name.split(".")
    name = OUTER[first] if first != "blk" else f"model.layers.{rest[0]}.{INNER[rest[1]]}"
    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    return f"{name}.{rest[-1]}", values.reshape(tuple(reversed([int(n) for n in tensor.shape]))).copy()


def config_of(reader: gguf.GGUFReader, *, is_tied: bool) -> dict[str, Any]:
    """Return `config.json`."""

    def own(key: str) -> Any:
        return field(reader, f"starcoder2.{key}")

    return {
        "architectures": ["Starcoder2ForCausalLM"],
        "model_type": "starcoder2",
        "vocab_size": len(field(reader, "tokenizer.ggml.tokens")),
        "hidden_size": own("embedding_length"),
        "intermediate_size": own("feed_forward_length"),
        "num_hidden_layers": own("block_count"),
        "num_attention_heads": own("attention.head_count"),
        "num_key_value_heads": own("attention.head_count_kv"),
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": own("context_length"),
        "norm_epsilon": own("attention.layer_norm_epsilon"),
        "norm_type": "layer_norm",
        "mlp_type": "default",
        "rope_theta": own("rope.freq_base"),
        "use_bias": True,
        "tie_word_embeddings": is_tied,
        "sliding_window": None,
        "attention_dropout": 0.0,
        "residual_dropout": 0.0,
        "embedding_dropout": 0.0,
        "initializer_range": 0.02,
        "torch_dtype": "float32",
        "use_cache": True,
        "bos_token_id": field(reader, "tokenizer.ggml.bos_token_id"),
        "eos_token_id": field(reader, "tokenizer.ggml.eos_token_id"),
    }


def tokenizer_of(reader: gguf.GGUFReader) -> dict[str, Any]:
    """Return `tokenizer.json`: digits one by one, then byte-level BPE."""
    tokens, types, merges = (field(reader, f"tokenizer.ggml.{key}") for key in ("tokens", "token_type", "merges"))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    special = [
        {"id": token_id, "content": text, **flags}
        for token_id, (text, kind) in enumerate(zip(tokens, types, strict=True))
        if kind == gguf.TokenType.CONTROL
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {text: token_id for token_id, text in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
