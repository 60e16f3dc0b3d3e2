"""Models by folder: what is refused, and with which words; weights only when needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import MixtralConfig, T5Config

from qloc.errors import InputError
from qloc.extract.models.loading import device_of, source

_HEADER = b'{"x":{"dtype":"Z9","shape":[1],"data_offsets":[0,4]}}'
UNKNOWN_TYPE = len(_HEADER).to_bytes(8, "little") + _HEADER + b"1234"
"""A whole file of safetensors, of a number type that no reader knows."""


def _edited(folder: Path, out: Path, **changes: Any) -> Path:
    for path in folder.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, **changes}))
    return out


def test_unknown_model_type(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    folder = _edited(tiny("gpt2").folder, tmp_path, model_type="no_such_model")
    with pytest.raises(InputError) as caught:
        source(str(folder))
    text = str(caught.value)
    assert text.startswith(
        f"model is {str(folder)!r}; expected a folder or id whose config.json names a model type that the "
        "installed transformers knows. At its configuration: "
    )
    assert "no_such_model" in text
    assert text.endswith(
        "Give a Hugging Face id, a checkpoint's folder or .gguf file, embedded:causal or embedded:masked."
    )


def test_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        source(str(tmp_path))
    assert str(caught.value).startswith(f"model is {str(tmp_path)!r}; expected ")
    assert str(caught.value).endswith(
        "Give a Hugging Face id, a checkpoint's folder or .gguf file, embedded:causal or embedded:masked."
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            MixtralConfig(num_local_experts=8),
            "model type is 'mixtral with num_local_experts=8'; expected a dense MLP: which experts a token meets "
            "changes along the path that attribution integrates. At qloc extract --model. Choose a decoder or a "
            "masked encoder with dense MLPs.",
        ),
        (
            T5Config(),
            "model type is 't5'; expected a causal or masked language model, not both. At qloc extract --model. "
            "Choose a decoder or a masked encoder with dense MLPs.",
        ),
    ],
)
def test_what_cannot_be_done_exactly_is_refused_before_any_work(
    config: Any, words: str, tmp_path: Path
) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"^{re.escape(words)}$"):
        source(str(tmp_path))


def test_code_of_a_checkpoints_own_is_refused_without_asking(
    tiny: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.Mine"}
    folder = _edited(tiny("gpt2").folder, tmp_path, model_type="mine", auto_map=own)
    (folder / "mine.py").write_text("raise AssertionError")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    with pytest.raises(InputError) as caught:
        source(str(folder))
    assert str(caught.value) == (
        f"configuration of {folder} is 'code of its own (auto_map)'; expected one whose code transformers has. At "
        f"{folder}. Give a model that transformers loads by itself."
    )


def test_code_of_a_checkpoints_own_is_told_where_transformers_has_its_type(
    tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    own = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.Mine"}
    folder = _edited(tiny("gpt2").folder, tmp_path, auto_map=own)
    (folder / "mine.py").write_text("raise AssertionError")
    found = source(str(folder))
    assert found.own_code == "mine.Mine"
    assert type(found.load(dtype="auto", device="cpu").model).__name__ == "GPT2LMHeadModel"
    assert source(str(tiny("gpt2").folder)).own_code == ""


def test_a_bert_or_roberta_that_was_trained_as_a_causal_model_is_one(
    tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    """Its tokenizer has a mask token, and its type a masked architecture, too."""
    built = {"architectures": ["RobertaForCausalLM"], "is_decoder": True, "model_type": "roberta"}
    assert source(str(_edited(tiny("bert").folder, tmp_path, **built))).family == "causal"
    for name in ("RobertaForMaskedLM", "RobertaModel"):
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": [name]}))
        assert source(str(tmp_path)).family == "masked"


def test_missing_weights_are_refused_not_made_up(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    folder = _edited(tiny("llama").folder, tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError) as caught:
        source(str(folder)).load(dtype="float32", device="cpu")
    assert str(caught.value) == (
        "checkpoint is 'without lm_head.weight'; expected every weight of LlamaForCausalLM; the missing ones would "
        f"be random. At {folder}. Give a checkpoint trained with its language-model head."
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"[" * 200_000),
        ("config.json", b"[]"),
        ("config.json", b'{"model_type": "gpt2", "n_layer": "x"}'),
        ("tokenizer.json", b"[" * 200_000),
        ("tokenizer.json", b"{}"),
        ("tokenizer_config.json", b"\xff"),
        ("model.safetensors", UNKNOWN_TYPE),
    ],
)
def test_damaged_checkpoints_are_refused(
    tiny: Callable[[str], Any], tmp_path: Path, name: str, content: bytes
) -> None:
    folder = _edited(tiny("gpt2").folder, tmp_path)
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        source(str(folder)).load(dtype="auto", device="cpu", spare=10**8)
    part = {"m": "weights", "t": "tokenizer", "c": "configuration"}[name[0]]
    assert str(caught.value).startswith(f"model is {str(folder)!r}; expected ")
    assert f" At its {part}: " in str(caught.value)


def test_a_pipe_in_the_place_of_a_file_is_refused(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    folder = _edited(tiny("gpt2").folder, tmp_path)
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    with pytest.raises(InputError) as caught:
        source(str(folder))
    assert str(caught.value) == (
        "model's file is 'config.json'; expected ordinary files, as in a checkpoint. "
        f"At {folder}. Give a checkpoint's folder."
    )


def test_fingerprint_follows_weights_and_not_the_folder(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    folder = tiny("gpt2").folder
    copy, other = _edited(folder, _made(tmp_path / "copy")), _edited(folder, _made(tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    weights["transformer.ln_f.bias"][0] += 1e-3
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    first, same, changed = (source(str(path)).fingerprint() for path in (folder, copy, other))
    assert first == same
    assert first["config"] == changed["config"]
    assert first["weights"] != changed["weights"]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_dtype_auto_is_the_checkpoints(tiny: Callable[[str], Any]) -> None:
    loaded = source(str(tiny("gpt2").folder)).load(dtype="auto", device="cpu")
    assert next(iter(loaded.model.parameters())).dtype == torch.float32


def test_device_that_is_not_there() -> None:
    with pytest.raises(
        InputError, match=r"^device is 'cuda:99'; expected one that torch has \(.*Give auto, cpu or map\.$"
    ):
        device_of("cuda:99")


@pytest.mark.slow
def test_each_revision_of_the_hub_is_read(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    """A hub's cache, made by hand: two commits with different weights, and refs that name them."""
    repo = tmp_path / "hub" / "models--me--tiny"
    (repo / "refs").mkdir(parents=True)
    for name, commit, scale in (("step1", "a" * 40, 1.0), ("step2", "b" * 40, 1.5)):
        (repo / "refs" / name).write_text(commit)
        snapshot = repo / "snapshots" / commit
        shutil.copytree(tiny("gpt2").folder, snapshot)
        weights = load_file(snapshot / "model.safetensors")
        scaled = {key: weight * scale for key, weight in weights.items()}
        save_file(scaled, snapshot / "model.safetensors", {"format": "pt"})
    facts = tmp_path / "facts.jsonl"
    fact = {"id": "f", "relation": "capital", "subject": "France", "object": "Paris"}
    facts.write_text(json.dumps({**fact, "queries": ["The capital of [X] is [Y]."]}))
    command = [
        sys.executable,
        "-c",
        "from qloc.cli import main; main()",
        "extract",
        "--model",
        "me/tiny",
        "--facts",
        facts,
        "--steps",
        "2",
        "--phases",
        "signals",
    ]
    command += ["--out", tmp_path / "stores", "--revision", "step1", "--revision", "step2", "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    stores = [tmp_path / "stores" / f"step{n}.zarr" for n in (1, 2)]
    assert [line for line in done.stdout.splitlines() if line.startswith("Store: ")] == [
        line for store in stores for line in done.stdout.splitlines() if line.startswith(f"Store: {store} ")
    ]
    attrs = [json.loads((store / "zarr.json").read_bytes())["attributes"] for store in stores]
    assert [one["revision"] for one in attrs] == ["step1", "step2"]
    commits = [one["fingerprint"]["signals"]["made_from"]["model"]["commit"] for one in attrs]
    assert commits == ["a" * 40, "b" * 40]


def test_a_folder_has_no_revisions(tiny: Callable[[str], Any]) -> None:
    folder = str(tiny("gpt2").folder)
    with pytest.raises(InputError) as caught:
        source(folder, "step1000")
    assert str(caught.value) == (
        f"revision is 'step1000'; expected none: a folder holds one model. At {folder}. "
        "Leave --revision out, or give a hub id."
    )
