"""A tiny random LLaMA, and GGUF files of it: as llama.cpp's converter writes them, apart from transformers' reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, dequantize, quantize
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

HEADS, GROUPS = 4, 2
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
ENDS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
SPECIAL = ["<pad>", "<s>", "</s>"]


def vocabulary() -> tuple[list[str], list[str]]:
    """Return tokens and merges of a byte-level BPE."""
    cut = Tokenizer(models.BPE())
    cut.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    cut.train_from_iterator(["The capital of France is Paris.", "Kenya's capital, Nairobi"] * 20, trainer)
    ids = cut.get_vocab()
    merges = json.loads(cut.to_str())["model"]["merges"]
    return sorted(ids, key=ids.__getitem__), [" ".join(pair) for pair in merges]


def network(vocab_size: int, **changes: Any) -> LlamaForCausalLM:
    """Return a tiny LLaMA whose attributions are well above rounding."""
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "max_position_embeddings": 64,
        "vocab_size": vocab_size,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    model = LlamaForCausalLM(LlamaConfig(**config | changes))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6.0) if weight.dim() > 1 else weight.uniform_(0.5, 1.5)
    return model.eval()


def named(name: str) -> str:
    """Return llama.cpp's name of a weight."""
    if name in ENDS:
        return ENDS[name]
    _, _, layer, module = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{NAMES[module]}.weight"


def as_llama_cpp(name: str, weight: np.ndarray) -> np.ndarray:
    """Return a weight as llama.cpp orders it: the halves of each head's rotary positions interleaved.

    As ``LlamaModel.permute`` of its convert_hf_to_gguf.py.
    """
    heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": GROUPS}
    n = next((number for part, number in heads.items() if part in name), None)
    if n is None:
        return weight
    halves = weight.reshape(n, 2, weight.shape[0] // n // 2, weight.shape[1])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def quantized(model: LlamaForCausalLM, kind: str) -> LlamaForCausalLM:
    """Round the matrices of a model to what blocks of a kind hold, in place."""
    type_ = GGMLQuantizationType[kind]
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.copy_(torch.from_numpy(dequantize(quantize(weight.numpy(), type_), type_)))
    return model


def write_gguf(path: Path, kind: str = "F32", changed: Any = None, add_bos: bool = False) -> LlamaForCausalLM:
    """Write a tiny LLaMA, its matrices in blocks of a kind; return it with the weights that the file holds.

    ``changed`` takes the writer before the weights are added.
    """
    tokens, merges = vocabulary()
    model = quantized(network(len(tokens)), kind)
    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(5000.0)
    writer.add_rope_dimension_count(config.hidden_size // HEADS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(add_bos)
    if changed is not None:
        changed(writer)
    type_ = GGMLQuantizationType[kind]
    for name, weight in model.state_dict().items():
        # Rows of blocks are permuted whole, so rounding before or after permuting them is the same.
        rows = as_llama_cpp(name, weight.numpy())
        stored = type_ if weight.dim() > 1 else GGMLQuantizationType.F32
        writer.add_tensor(named(name), quantize(np.ascontiguousarray(rows), stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model
