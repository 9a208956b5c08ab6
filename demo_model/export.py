"""Step 3: write the trained model as a GGUF file of architecture `starcoder2`, which llama.cpp loads as it is.

Reads `checkpoint.pt` and `tokenizer.json` from the work folder. Tensor names, shapes and metadata keys follow
llama.cpp's `src/models/starcoder2.cpp`, `src/llama-arch.cpp` and `src/llama-vocab.cpp`. It is not a general converter:
it knows the shapes of `model.py`, needs no permutation of the heads (both sides rotate halves) and writes no output
matrix (llama.cpp then takes the embedding matrix). `read_back` is the way back, to train on where no checkpoint is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import torch

from demo_model import default_work_dir
from demo_model.model import Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

DEFAULT_TARGET = Path(__file__).parent.parent / "starcoder_lsp" / "demonstrator" / "starcoder-lsp-demonstrator.gguf"
# The file travels inside the package, so its size is everybody's download.
MAX_BYTES = 30_000_000
NAME = "starcoder-lsp demonstrator"
DESCRIPTION = (
    "A model of {n_parameters:.1f} M parameters in StarCoder2's architecture, trained from scratch on {n_tokens:.0f} M "
    "tokens of permissively licensed code, so that starcoder-lsp runs out of the box. It is not StarCoder2 and holds "
    "none of its weights."
)
TYPES = {
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
# `model.py`'s module names and llama.cpp's.
TENSOR_NAMES = {
    "embedding": "token_embd",
    "norm": "output_norm",
    "attn_norm": "attn_norm",
    "attn.q": "attn_q",
    "attn.k": "attn_k",
    "attn.v": "attn_v",
    "attn.o": "attn_output",
    "ffn_norm": "ffn_norm",
    "up": "ffn_up",
    "down": "ffn_down",
}


def tensor_name(name: str) -> str:
    """llama.cpp's name of the parameter `name`, `KeyError` if there is none."""
    module, _, kind = name.rpartition(".")
    if not module.startswith("blocks."):
        return f"{TENSOR_NAMES[module]}.{kind}"
    _, number, part = module.split(".", 2)
    return f"blk.{number}.{TENSOR_NAMES[part]}.{kind}"


def add_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    """Write the model's dimensions, under `starcoder2.*`."""
    writer.add_context_length(shape.n_context)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_heads_kv)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_eps(shape.norm_eps)


def add_vocabulary(writer: gguf.GGUFWriter, tokenizer: Mapping[str, Any]) -> None:
    """Write tokens and merges of a byte-level `tokenizer.json`, spelled as there (GPT-2's byte-to-character table)."""
    ids: dict[str, int] = tokenizer["model"]["vocab"]
    special = {row["content"]: row["id"] for row in tokenizer["added_tokens"]}
    tokens = sorted(ids, key=lambda token: ids[token])
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        msg = "the ids of tokenizer.json have gaps"
        raise ValueError(msg)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("starcoder")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(special["<|endoftext|>"])
    writer.add_eos_token_id(special["<|endoftext|>"])
    writer.add_unk_token_id(special["<|endoftext|>"])
    writer.add_add_bos_token(value=False)
    writer.add_uint32(gguf.Keys.Tokenizer.FIM_PRE_ID, special["<fim_prefix>"])
    writer.add_uint32(gguf.Keys.Tokenizer.FIM_SUF_ID, special["<fim_suffix>"])
    writer.add_uint32(gguf.Keys.Tokenizer.FIM_MID_ID, special["<fim_middle>"])
    writer.add_uint32(gguf.Keys.Tokenizer.FIM_PAD_ID, special["<fim_pad>"])
    writer.add_uint32(gguf.Keys.Tokenizer.FIM_REP_ID, special["<repo_name>"])
    writer.add_uint32(gguf.Keys.Tokenizer.FIM_SEP_ID, special["<file_sep>"])


def add_tensors(writer: gguf.GGUFWriter, parameters: Mapping[str, torch.Tensor], matrix_type: str) -> None:
    """Write matrices as `matrix_type`; norms and biases stay float32, as llama.cpp expects."""
    ggml_type, _ = TYPES[matrix_type]
    for name, parameter in parameters.items():
        values: NDArray[np.float32] = parameter.detach().float().numpy()
        if not np.isfinite(values).all():
            msg = f"{name} holds values that are not finite"
            raise ValueError(msg)
        if values.ndim == 1:
            writer.add_tensor(tensor_name(name), values)
        else:
            writer.add_tensor(tensor_name(name), gguf.quants.quantize(values, ggml_type), raw_dtype=ggml_type)


def export(
    checkpoint: Mapping[str, Any], tokenizer: Mapping[str, Any], target: Path, matrix_type: str = "q8_0"
) -> None:
    """Write `target`, whole or not at all; `ValueError` if it would be larger than `MAX_BYTES`."""
    shape = Shape(**checkpoint["shape"])
    _, file_type = TYPES[matrix_type]
    part = target.with_suffix(".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(part, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.STARCODER2])
    n_parameters = sum(parameter.numel() for parameter in checkpoint["model"].values())
    writer.add_name(NAME)
    writer.add_description(DESCRIPTION.format(n_parameters=n_parameters / 1e6, n_tokens=checkpoint["n_tokens"] / 1e6))
    writer.add_license("apache-2.0")
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_shape(writer, shape)
    add_vocabulary(writer, tokenizer)
    add_tensors(writer, checkpoint["model"], matrix_type)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        n_bytes = part.stat().st_size
        if n_bytes > MAX_BYTES:
            msg = f"the file would have {n_bytes} bytes, more than {MAX_BYTES}: use --type q8_0 or a smaller model"
            raise ValueError(msg)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def read_back(path: Path) -> tuple[Shape, dict[str, torch.Tensor]]:
    """Shape and parameters of an exported file, as `model.py` names them; matrices lose what Q8_0 has rounded off."""
    reader = gguf.GGUFReader(path)

    def number(key: str) -> Any:
        return reader.fields[f"starcoder2.{key}"].contents()

    ours = {theirs: module for module, theirs in TENSOR_NAMES.items()}
    parameters: dict[str, torch.Tensor] = {}
    for tensor in reader.tensors:
        module, _, kind = tensor.name.rpartition(".")
        block, _, part = module.rpartition(".")
        name = f"blocks.{block.removeprefix('blk.')}.{ours[part]}.{kind}" if block else f"{ours[module]}.{kind}"
        parameters[name] = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy()).float()
    shape = Shape(
        n_vocab=len(parameters["embedding.weight"]),
        n_layers=number("block_count"),
        n_embd=number("embedding_length"),
        n_heads=number("attention.head_count"),
        n_heads_kv=number("attention.head_count_kv"),
        n_ff=number("feed_forward_length"),
        n_context=number("context_length"),
        rope_base=number("rope.freq_base"),
        norm_eps=round(number("attention.layer_norm_epsilon"), 9),  # kept in 32 bits
    )
    return shape, parameters


def main() -> None:
    """Run the step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=default_work_dir())
    parser.add_argument("--name", default="checkpoint", help="the checkpoint's name, as given to train.py")
    parser.add_argument("--type", choices=TYPES, default="q8_0", help="how matrices are stored")
    parser.add_argument("--output", type=Path, default=DEFAULT_TARGET)
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()

    checkpoint = torch.load(args.work_dir / f"{args.name}.pt", weights_only=True, map_location="cpu")
    tokenizer = json.loads((args.work_dir / "tokenizer.json").read_text("utf-8"))
    export(checkpoint, tokenizer, args.output, args.type)
    if not args.quiet:
        data = args.output.read_bytes()
        print(f"{args.output}: step {checkpoint['step']}, {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
