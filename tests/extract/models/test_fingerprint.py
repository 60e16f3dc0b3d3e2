"""What a model's fingerprint follows: its files, and nothing that an upgrade or use changes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PretrainedConfig, PreTrainedTokenizerFast

from qloc.canonical_json import canonical, differences
from qloc.extract.models import fingerprint
from qloc.extract.models.loading import ModelSource, source


def _both(found: ModelSource) -> dict[str, Any]:
    return {"model": found.fingerprint(), "tokenizer": found.tokenizer_fingerprint()}


def test_it_is_the_same_with_another_version_of_transformers(
    tiny: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """4.56 gives 77 keys where 5.23 gives 39; what a tokenizer says of itself has other keys, too."""
    folder = str(tiny("bert").folder)
    before, older = _both(source(folder)), source(folder).fingerprint(older=True)
    described = PretrainedConfig.to_dict
    monkeypatch.setattr(PretrainedConfig, "to_dict", lambda self: {**described(self), "new_default": 1})
    monkeypatch.setattr(PreTrainedTokenizerFast, "special_tokens_map", {"new_token": "<new>"})
    assert _both(source(folder)) == before
    assert source(folder).fingerprint(older=True) != older


def test_each_setting_that_differs_is_named(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("gpt2").folder, tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    saved = {"transformers_version": "4.0.0", "_name_or_path": "/elsewhere", "id2label": {"0": "x"}}
    (folder / "config.json").write_text(json.dumps({**saved, **config, **saved}, indent=7))
    first = _both(source(str(tiny("gpt2").folder)))
    assert _both(source(str(folder))) == first
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_epsilon": 0.5, "dtype": "float16"}))
    cut = json.loads((folder / "tokenizer.json").read_text())
    cut["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(cut))
    lines = [line.partition(": ") for line in differences(first, _both(source(str(folder))))]
    assert [key for key, _, _ in lines] == [
        *("model.config.dtype", "model.config.layer_norm_epsilon"),
        *("tokenizer.files.tokenizer.json", "tokenizer.tokens"),
    ]
    assert lines[0][2] == "'float32' → 'float16'"


@pytest.mark.parametrize("older", [False, True])
def test_a_tokenizer_that_was_used_is_the_same(tiny: Callable[[str], Any], older: bool) -> None:
    found = source(str(tiny("bert").folder))
    before = found.tokenizer_fingerprint(older=older)
    found.tokenizer(["France", "Kenya's capital"], padding=True, truncation=True, max_length=4)
    assert found.tokenizer.backend_tokenizer.padding is not None
    assert found.tokenizer_fingerprint(older=older) == before
    assert source(str(tiny("bert").folder)).tokenizer_fingerprint(older=older) == before


def test_a_tokenizer_that_pads_as_read_has_the_older_form_that_it_had(
    tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    """Those of sentence encoders have padding in their file."""
    folder = Path(shutil.copytree(tiny("bert").folder, tmp_path / "pads"))
    cut = source(str(folder)).tokenizer.backend_tokenizer
    cut.enable_padding(length=8)
    cut.enable_truncation(16)
    cut.save(str(folder / "tokenizer.json"))
    found = source(str(folder))
    state, before = found.as_read, found.tokenizer_fingerprint(older=True)
    found.tokenizer("Kenya's capital")
    assert found.tokenizer.backend_tokenizer.padding is None
    assert state == found.as_read
    assert found.tokenizer_fingerprint(older=True) == before


def test_a_model_of_the_hub_has_its_commit_and_its_own_keys(
    tiny: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which files of a tokenizer are cached follows the version of transformers: the commit stands for them."""
    snapshot = tmp_path / "models--me--tiny" / "snapshots" / ("a" * 40)
    shutil.copytree(tiny("gpt2").folder, snapshot)
    monkeypatch.setattr(
        "transformers.utils.hub.cached_file", lambda *_, **__: os.fspath(snapshot / "config.json")
    )
    local = source(str(tiny("gpt2").folder))
    named = ModelSource(
        name="me/tiny",
        place="me/tiny",
        revision="main",
        config=local.config,
        tokenizer=local.tokenizer,
        family="causal",
    )
    keys = local.fingerprint()["config"]
    assert named.fingerprint() == {"id": "me/tiny", "commit": "a" * 40, "config": keys}
    assert named.tokenizer_fingerprint() == {"tokens": local.tokenizer_fingerprint()["tokens"]}  # type: ignore[index]
    monkeypatch.setattr("transformers.utils.hub.cached_file", lambda *_, **__: None)
    bare = named.fingerprint()
    assert (bare["commit"], bare["config"]["n_embd"]) == ("main", 32)
    assert "transformers_version" not in bare["config"]


def test_what_json_cannot_hold_is_written_in_words() -> None:
    keys = fingerprint.own_keys(
        {"limit": [0.0, float("inf")], "dtype": None, "torch_dtype": "torch.bfloat16"}
    )
    assert canonical(keys) == b'{"dtype":"bfloat16","limit":[0.0,"inf"]}'
