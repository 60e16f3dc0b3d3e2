"""Broken files of a checkpoint are refused by name, before anything is read from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from qloc.errors import InputError
from qloc.extract.models.loading import ModelSource, source

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
AGAIN = "Download it again."


def _copied(tiny: Callable[[str], Any], out: Path) -> Path:
    return Path(shutil.copytree(tiny("gpt2").folder, out / "model"))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_no_file(tiny: Callable[[str], Any], tmp_path: Path, name: str) -> None:
    folder = _copied(tiny, tmp_path)
    (folder / name).write_bytes(POINTER)
    with pytest.raises(InputError) as caught:
        source(str(folder))
    assert str(caught.value) == (
        f"model's file is '{name}, a pointer of git-lfs'; expected the file itself. At {folder}. "
        "Run git lfs pull in the clone."
    )


def test_every_file_that_is_empty_or_cut_off_is_told(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    folder = _copied(tiny, tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    broken = {"a": whole[: len(whole) // 2], "b": whole[:100], "c": b"\xff" * 100, "d": whole + b"more"}
    for name, content in broken.items():
        (folder / f"model-{name}.safetensors").write_bytes(content)
    (folder / "tokenizer.json").write_bytes(b"")
    torch.save({"a": torch.zeros(9)}, folder / "pytorch_model-1.bin")
    torch.save({"a": torch.zeros(9)}, folder / "pytorch_model-2.bin", _use_new_zipfile_serialization=False)
    cut = (folder / "pytorch_model-1.bin").read_bytes()[:300]
    (folder / "pytorch_model-3.bin").write_bytes(cut)
    (folder / "pytorch_model-4.bin").write_bytes(b"<html>gone</html>")
    with pytest.raises(InputError) as caught:
        source(str(folder))
    n, told = len(whole), f"bytes, as its header says. At {folder}. {AGAIN}"
    assert caught.value.problems == (
        f"model's file is 'model-a.safetensors, {n // 2:,} bytes'; expected {n:,} {told}",
        f"model's file is 'model-b.safetensors, 100 bytes'; expected a file of safetensors. At {folder}. {AGAIN}",
        f"model's file is 'model-c.safetensors, 100 bytes'; expected a file of safetensors. At {folder}. {AGAIN}",
        f"model's file is 'model-d.safetensors, {n + 4:,} bytes'; expected {n:,} {told}",
        f"model's file is 'pytorch_model-3.bin, 300 bytes'; expected a whole file of torch. At {folder}. {AGAIN}",
        f"model's file is 'pytorch_model-4.bin, 17 bytes'; expected a whole file of torch. At {folder}. {AGAIN}",
        f"model's file is 'tokenizer.json, empty'; expected the file itself. At {folder}. {AGAIN}",
    )


@pytest.mark.parametrize("kind", ["gpt2", "bert", "llama"])
def test_a_folder_without_a_tokenizer_is_refused(
    tiny: Callable[[str], Any], tmp_path: Path, kind: str
) -> None:
    """transformers makes one of special tokens alone, which would be asked nothing without a true reason."""
    folder = Path(shutil.copytree(tiny(kind).folder, tmp_path / kind))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(InputError, match="tokenizer") as caught:
        source(str(folder))
    assert str(folder) in str(caught.value)


def test_a_tokenizer_of_another_model_is_refused(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    folder = _copied(tiny, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    n = config["vocab_size"]
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": n - 1}))
    with pytest.raises(InputError) as caught:
        source(str(folder))
    assert str(caught.value) == (
        f"tokenizer is 'of {n} tokens'; expected at most {n - 1}, as many as the model has embeddings. At {folder}. "
        "Put the files of the model's own tokenizer beside its weights."
    )
    (folder / "config.json").write_text(json.dumps(config))
    padded = source(str(folder)).tokenizer
    padded.add_special_tokens({"additional_special_tokens": ["<never asked>"]})
    padded.save_pretrained(folder)
    assert len(source(str(folder)).tokenizer) == n + 1


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors", "a_new_one"])
def test_quantized_weights_are_refused_before_they_are_read(
    tiny: Callable[[str], Any], tmp_path: Path, method: str
) -> None:
    folder = _copied(tiny, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError) as caught:
        source(str(folder))
    assert str(caught.value) == (
        f"checkpoint is 'quantized ({method})'; expected weights that are plain floats. At qloc extract --model. Give "
        "the checkpoint that it was made from, or a GGUF file, whose blocks are dequantized."
    )


@pytest.mark.parametrize(("dtype", "named"), [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3")])
def test_quantized_weights_are_refused_without_a_word_in_the_configuration(
    tiny: Callable[[str], Any], tmp_path: Path, dtype: torch.dtype, named: str
) -> None:
    folder = _copied(tiny, tmp_path)
    weights = load_file(folder / "model.safetensors")
    key = "transformer.h.1.mlp.c_proj.weight"
    weights |= {key: weights[key].to(dtype), "transformer.h.0.attn.bias": torch.ones(1, dtype=torch.uint8)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError) as caught:
        source(str(folder))
    assert str(caught.value) == (
        f"model's file is 'model.safetensors, whose {key} is {named}'; expected weights that are plain floats. "
        f"At {folder}. Give the checkpoint that it was made from, or a GGUF file, whose blocks are dequantized."
    )


@pytest.mark.parametrize(
    "config",
    [
        *(
            hf.MPNetConfig,
            hf.RobertaPreLayerNormConfig,
            hf.RobertaConfig,
            hf.XLMRobertaConfig,
            hf.CamembertConfig,
        ),
        *(hf.XLMRobertaXLConfig, hf.Data2VecTextConfig, hf.BertConfig, hf.ElectraConfig),
    ],
)
def test_the_longest_prompt_is_the_longest_that_the_model_takes(
    tiny: Callable[[str], Any], config: Any
) -> None:
    """Positions of RoBERTa's kin start after the padding index; one more token is out of the table."""
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    made = config(**small, max_position_embeddings=20, vocab_size=320, pad_token_id=1)
    tokenizer = source(str(tiny("bert").folder)).tokenizer
    found = ModelSource(name="m", place="m", revision=None, config=made, tokenizer=tokenizer, family="masked")
    longest = found.encoder().longest
    model = hf.AutoModelForMaskedLM.from_config(made).eval()
    with torch.no_grad():
        assert model(input_ids=torch.full((1, longest), 7)).logits.shape[1] == longest
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, longest + 1), 7))
