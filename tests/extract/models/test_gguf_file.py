"""GGUF files: what their header says, what is refused of them, and that what is loaded is what they hold."""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from tiny_gguf import write_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from qloc.canonical_json import file_digest
from qloc.errors import InputError, MissingDependencyError
from qloc.extract.models.gguf_file import GgufFile, GgufTensor, gguf_file
from qloc.extract.models.loading import source
from qloc.extract.signals.extraction import prepare
from qloc.facts import Query
from qloc.plan import Plan

KINDS = ("F32", "F16", "Q8_0", "Q4_1")


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """Write (once) a tiny LLaMA in blocks of a kind; give the file, and the model with its weights."""
    folder, built = tmp_path_factory.mktemp("gguf"), {}

    def build(kind: str) -> tuple[Path, Any]:
        if kind not in built:
            path = folder / f"tiny-{kind}.gguf"
            built[kind] = path, write_gguf(path, kind)
        return built[kind]

    return build


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("facts") / "facts.csv"
    rows = ("capital,France,Paris,The capital of [X] is [Y].", 'capital,Kenya,Nairobi,"[X]\'s capital, [Y]"')
    path.write_text("\n".join(("relation,subject,object,query", *rows)) + "\n")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        source(str(path))
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_the_file(tiny_gguf: Callable[[str], tuple[Path, Any]], kind: str) -> None:
    """Against weights that gguf itself rounded, without transformers' reader; bit for bit."""
    path, model = tiny_gguf(kind)
    loaded = source(str(path)).load(dtype="auto", device="cpu").model
    ours, theirs = loaded.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert {weight.data_ptr() % 64 for weight in loaded.parameters()} == {0}
    ids = torch.tensor([[5, 17, 80, 200]])
    assert torch.equal(loaded(ids).logits, model(ids).logits)


@pytest.mark.parametrize("kind", ["F32", "Q4_1"])
def test_nothing_of_a_quantizer_stays_on_the_model(
    tiny_gguf: Callable[[str], tuple[Path, Any]], kind: str
) -> None:
    loaded = source(str(tiny_gguf(kind)[0])).load(dtype="auto", device="cpu").model
    assert getattr(loaded, "hf_quantizer", None) is None
    assert not loaded.is_quantized
    assert getattr(loaded.config, "quantization_config", None) is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_another_dtype_is_taken_where_it_is_asked_for(
    tiny_gguf: Callable[[str], tuple[Path, Any]], dtype: str
) -> None:
    path, model = tiny_gguf("Q4_1")
    loaded = source(str(path)).load(dtype=dtype, device="cpu").model
    there = loaded.model.layers[1].mlp.down_proj.weight
    assert torch.equal(there, model.model.layers[1].mlp.down_proj.weight.to(getattr(torch, dtype)))


@pytest.mark.parametrize("kind", ["F32", "Q8_0", "Q4_1"])
def test_numbers_are_those_of_the_same_weights_as_safetensors(
    tiny_gguf: Callable[[str], tuple[Path, Any]], facts: Path, tmp_path: Path, kind: str
) -> None:
    """The folder is what transformers itself makes of the file; every array of a unit is equal, bit for bit.

    For that the weights must lie alike: those of a safetensors file begin where its header ends, and BLAS rounds by
    where they lie (1e-6 of the largest attribution, here).
    """
    path, _ = tiny_gguf(kind)
    shown: dict[str, Any] = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    model: Any = AutoModelForCausalLM.from_pretrained(**shown, dtype=torch.float32)
    model.hf_quantizer = None  # with it transformers refuses to save even weights that are plain floats
    model.config.__dict__.pop("quantization_config", None)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(**shown).save_pretrained(tmp_path)
    common = {"facts": str(facts), "steps": 4, "methods": ("ig", "grad_x_act"), "device": "cpu"}
    ours, theirs = (prepare(Plan(model=str(model), **common)) for model in (path, tmp_path))
    plain = theirs.extract(theirs.outline.units[0]).attribution
    for weight in theirs.loaded.model.parameters():
        weight.data = weight.data.clone()
    first, second = (extraction.extract(extraction.outline.units[0]) for extraction in (ours, theirs))
    np.testing.assert_allclose(first.attribution, plain, rtol=0, atol=1e-5 * np.abs(plain).max())
    assert first.attribution.any()
    for name in ("attribution", "activation", "gradient", "completeness_gap", "gram"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes(), name
    for name, column in first.queries.items():
        assert column.tolist() == second.queries[name].tolist() or column.dtype.kind == "f", name
    assert ours.fingerprint["tokenizer"]["tokens"] == theirs.fingerprint["tokenizer"]["tokens"]
    attrs = {**ours.outline.attrs}
    assert (
        attrs.pop("quantization")
        == {
            "F32": "F32 (F32), read as float32",
            "Q8_0": "Q8_0 (Q8_0, F32), dequantized to float32",
            "Q4_1": "Q4_1 (Q4_1, F32), dequantized to float32",
        }[kind]
    )
    assert attrs | {"model": str(tmp_path)} == theirs.outline.attrs
    assert ours.environment.keys() - theirs.environment.keys() == {"gguf"}


def test_fingerprint_is_the_sha256_of_the_file(
    tiny_gguf: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    path, _ = tiny_gguf("Q4_1")
    copy = tmp_path / "renamed.gguf"
    shutil.copy(path, copy)
    first, second = source(str(path)).fingerprint(), source(str(copy)).fingerprint()
    assert first == second
    assert first["weights"] == file_digest(path)
    assert source(str(tiny_gguf("Q8_0")[0])).fingerprint()["weights"] != first["weights"]


@pytest.mark.parametrize("add_bos", [False, True])
def test_the_beginning_token_is_set_where_the_file_says_so(tmp_path: Path, add_bos: bool) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, add_bos=add_bos)
    encoder = source(str(path)).encoder()
    query = Query(template="t", text="The capital of France is [Y].")
    asked = encoder.ask(query, "Paris")
    assert not isinstance(asked, str)
    assert (asked.targets[0].ids[0] == 1) == add_bos
    assert (
        "".join(map(encoder.tokenizer.decode, asked.targets[0].ids[add_bos:])) == "The capital of France is"
    )


def test_the_tokenizer_is_the_files_and_not_the_folders(
    tiny_gguf: Callable[[str], tuple[Path, Any]], tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    """transformers takes a tokenizer.json beside the file before the file's own."""
    path, _ = tiny_gguf("F32")
    shutil.copytree(tiny("gpt2").folder, tmp_path / "folder")
    shutil.copy(path, tmp_path / "folder")
    alone, beside = source(str(path)), source(str(tmp_path / "folder" / path.name))
    assert alone.tokenizer_fingerprint() == beside.tokenizer_fingerprint()
    assert alone.tokenizer_fingerprint() != source(str(tiny("gpt2").folder)).tokenizer_fingerprint()


def test_transformers_bar_is_not_shown(
    tiny_gguf: Callable[[str], tuple[Path, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    source(str(tiny_gguf("Q8_0")[0])).load(dtype="auto", device="cpu")
    assert capfd.readouterr() == ("", "")


def test_what_is_replaced_in_libraries_comes_back(tiny_gguf: Callable[[str], tuple[Path, Any]]) -> None:
    import gguf

    reader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    before = gguf.GGUFReader, gguf.get_tensor_name_map, reader.tqdm
    source(str(tiny_gguf("F32")[0]))
    assert (gguf.GGUFReader, gguf.get_tensor_name_map, reader.tqdm) == before


def test_a_file_is_known_by_its_first_bytes_too(
    tiny_gguf: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    shutil.copy(tiny_gguf("F32")[0], tmp_path / "weights")
    file = gguf_file(str(tmp_path / "weights"))
    assert file is not None
    assert (file.architecture, file.file_type, file.quantized) == ("llama", "F32", False)
    assert gguf_file("gpt2") is None
    assert gguf_file(str(tmp_path)) is None


def test_types_are_named_by_how_many_numbers_have_them() -> None:
    tensors = {
        "a": GgufTensor(type="F32", n_numbers=3),
        "b": GgufTensor(type="Q4_K", n_numbers=8),
        "c": GgufTensor(type="Q6_K", n_numbers=9),
        "d": GgufTensor(type="Q4_K", n_numbers=2),
    }
    file = GgufFile(path=Path("x.gguf"), architecture="llama", file_type="Q4_K_M", tensors=tensors)
    assert file.provenance("bfloat16") == "Q4_K_M (Q4_K, Q6_K, F32), dequantized to bfloat16"


def test_a_file_that_is_not_there() -> None:
    assert refusal(Path("no.gguf")) == (
        "model is 'no.gguf'; expected a GGUF file that exists. At --model. Give its path."
    )


def test_a_file_takes_no_revision(tiny_gguf: Callable[[str], tuple[Path, Any]]) -> None:
    path, _ = tiny_gguf("F32")
    with pytest.raises(InputError) as caught:
        source(str(path), "main")
    assert str(caught.value) == (
        f"revision is 'main'; expected none: a file holds one model. At {path}. Leave --revision out, or give a hub id."
    )


def test_what_is_no_gguf_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"PK\3\4" + bytes(40))
    assert refusal(path) == (
        f"GGUF is 'no GGUF file'; expected version 2 or 3, little-endian. At {path}. Download or convert it again."
    )
    path.write_bytes(struct.pack(">4sI", b"GGUF", 3) + bytes(40))
    assert refusal(path) == (
        "GGUF is 'version 50331648, or of another byte order'; expected version 2 or 3, little-endian. "
        f"At {path}. Download or convert it again."
    )
    path.write_bytes(b"")
    assert refusal(path).startswith("GGUF is 'incomplete'; expected a whole file (")


@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.999])
def test_a_download_that_broke_off(
    tiny_gguf: Callable[[str], tuple[Path, Any]], tmp_path: Path, share: float
) -> None:
    whole = tiny_gguf("Q4_1")[0].read_bytes()
    path = tmp_path / "part.gguf"
    path.write_bytes(whole[: int(share * len(whole))])
    text = refusal(path)
    assert text.startswith("GGUF is 'incomplete'; expected a whole file (")
    assert text.endswith(f"). At {path}. Download or convert it again.")


def _header(path: Path, architecture: str, change: Callable[[GGUFWriter], None] = lambda _: None) -> Path:
    """Write a file with nothing but what is refused before any weight is read."""
    writer = GGUFWriter(path, architecture)
    change(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_an_architecture_that_transformers_cannot_rebuild(tmp_path: Path) -> None:
    path = _header(tmp_path / "x.gguf", "rwkv7")
    text = refusal(path)
    assert text.startswith("GGUF architecture is 'rwkv7'; expected one that transformers ")
    assert ": bloom, " in text
    assert ", llama, " in text
    assert text.endswith(f". At {path}. Give the folder or the id of the same model as safetensors.")


def test_a_type_that_cannot_be_dequantized(tmp_path: Path) -> None:
    def change(writer: GGUFWriter) -> None:
        blocks = torch.zeros(1, 292, dtype=torch.uint8).numpy()
        writer.add_tensor(
            "token_embd.weight", blocks, raw_shape=blocks.shape, raw_dtype=GGMLQuantizationType.Q8_K
        )

    path = _header(tmp_path / "x.gguf", "llama", change)
    assert refusal(path) == (
        "GGUF quantization is 'Q8_K'; expected types that the installed gguf can dequantize. "
        f"At {path}. Quantize the model otherwise, or give the folder or the id of the same model as safetensors."
    )


def test_all_reasons_are_said_at_once(tmp_path: Path) -> None:
    def change(writer: GGUFWriter) -> None:
        writer.add_type("adapter")
        writer.add_uint16("split.count", 3)
        writer.add_string("nonesuch.rope.scaling.type", "yarn")
        writer.add_float32("nonesuch.rope.scaling.factor", 4.0)

    path = _header(tmp_path / "x.gguf", "nonesuch", change)
    lines = refusal(path).splitlines()
    assert [re.split("; ", line)[0] for line in lines] == [
        "GGUF is 'of type adapter'",
        "GGUF is 'one of 3 parts'",
        "GGUF architecture is 'nonesuch'",
        "GGUF is 'a model with nonesuch.rope.scaling.type=yarn'",
    ]


def test_scaled_rotary_positions_are_refused(tmp_path: Path) -> None:
    """As of Llama 3.1: transformers drops the factors and would give the numbers of another model."""
    path = tmp_path / "x.gguf"
    write_gguf(path, changed=lambda writer: writer.add_tensor("rope_freqs.weight", torch.ones(8).numpy()))
    assert refusal(path) == (
        "GGUF is 'a model with rope_freqs.weight'; expected rotary positions that are not scaled: transformers drops "
        f"their scaling when it reads a GGUF file. At {path}. Give the folder or the id of the same model as safetensors."
    )


def test_a_mixture_of_experts_is_refused_as_elsewhere(tmp_path: Path) -> None:
    def change(writer: GGUFWriter) -> None:
        writer.add_block_count(2)
        writer.add_uint32("qwen2moe.expert_count", 8)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(["a", "b"])

    text = refusal(_header(tmp_path / "x.gguf", "qwen2moe", change))
    assert text.startswith("model type is 'qwen2_moe with num_experts=")
    assert "expected a dense MLP" in text


def test_a_tensor_that_transformers_drops_is_refused(tmp_path: Path) -> None:
    """Biases of attention, which transformers takes LLaMA to have none of."""
    path = tmp_path / "x.gguf"
    model = write_gguf(
        path, changed=lambda writer: writer.add_tensor("blk.0.attn_q.bias", torch.ones(64).numpy())
    )
    with pytest.raises(InputError) as caught:
        source(str(path)).load(dtype="auto", device="cpu")
    there = sum(weight.numel() for weight in model.parameters())
    assert str(caught.value) == (
        f"number of weights is {there + 64}; expected the {there:,} of LlamaForCausalLM, as transformers builds it from "
        f"this file. At {path}, architecture llama. Give the folder or the id of the same model as safetensors."
    )


def test_missing_weights_are_refused_not_made_up(
    tiny_gguf: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(tiny_gguf("F32")[0].read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xp.weight"))
    with pytest.raises(
        InputError, match=r"^checkpoint is 'without model\.layers\.1\.mlp\.up_proj\.weight'; "
    ):
        source(str(path)).load(dtype="auto", device="cpu")


@pytest.mark.parametrize("package", ["gguf", "accelerate"])
def test_a_missing_package_is_named_with_its_extra(
    tiny_gguf: Callable[[str], tuple[Path, Any]], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(MissingDependencyError) as caught:
        source(str(tiny_gguf("F32")[0]))
    assert str(caught.value) == (
        f"package {package} is 'missing'; expected installed; qloc[gguf] brings it. At --model with a .gguf file. In the "
        "clone, run: pip install -c constraints.txt '.[extract,gguf]'."
    )
    assert caught.value.exit_code == 2


@pytest.mark.real_models
@pytest.mark.parametrize(
    ("name", "prompt", "best", "probability", "first", "provenance"),
    [
        ("smollm2", "The capital of France is", " Paris", 0.7725, 504, "Q4_1 (Q4_1, Q8_0, F32)"),
        ("gemma3-270m", "Steve Jobs founded", " Apple", 0.8669, 2, "Q4_K_M (Q8_0, Q5_0, Q4_K, Q6_K, F32)"),
    ],
)
def test_a_real_model_knows_what_it_knows(
    real_model: Callable[[str], Path],
    name: str,
    prompt: str,
    best: str,
    probability: float,
    first: int,
    provenance: str,
) -> None:
    """Probabilities are those of transformers' own from_pretrained(gguf_file=); 1e-3 for other processors."""
    found = source(str(real_model(name)))
    assert found.gguf is not None
    assert found.gguf.provenance("float32") == f"{provenance}, dequantized to float32"
    ids = found.tokenizer(prompt)["input_ids"]
    assert ids[0] == first  # Gemma's <bos>; SmolLM2 has none
    model = found.load(dtype="auto", device="cpu").model
    with torch.no_grad():
        p, token = model(torch.tensor([ids])).logits[0, -1].softmax(-1).max(-1)
    assert found.tokenizer.decode(token) == best
    assert float(p) == pytest.approx(probability, abs=1e-3)
