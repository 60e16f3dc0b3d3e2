"""Read the header of a GGUF file, refuse what transformers would not rebuild exactly, and show it the rest.

GGUF is the format of llama.cpp: configuration, tokenizer and weights in one file, the weights mostly in
blocks of a few bits. transformers rebuilds such a model with plain float weights, of some architectures. It
drops in silence what it does not know, such as the scaling of rotary positions, and would then give the
numbers of another model. So what it would drop is refused here by name, before anything is read, and what is
left is counted after loading.
"""

from __future__ import annotations

import importlib.util
import mmap
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from qloc.errors import InputError, MissingDependencyError, message

SUFFIX: Final = ".gguf"
"""How the name of a GGUF file ends."""

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type numbers of metadata, and how :mod:`struct` reads them; beside them there are texts and arrays."""
_TEXT: Final = 8
_ARRAY: Final = 9
_LONG: Final = 1024
"""Longer arrays are those of a vocabulary; a model's have a number for each layer at most."""
_PLAIN: Final = ("F64", "F32", "F16", "BF16")
"""Types of tensors whose numbers are stored one by one."""
_ROTARY: Final = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tensors that scale rotary positions, as Llama 3.1 and Phi 3 have them."""
_OF_SAFETENSORS: Final = "Give the folder or the id of the same model as safetensors"


@dataclass(frozen=True, kw_only=True)
class GgufTensor:
    """One tensor of a GGUF file, without its numbers.

    Attributes
    ----------
    type : str
        How its numbers are stored, such as ``"Q4_1"`` or ``"F32"``; ``"type 99"`` if gguf does not know it.
    n_numbers : int
        How many numbers it has.
    """

    type: str
    n_numbers: int


@dataclass(frozen=True, kw_only=True)
class GgufFile:
    """A GGUF file that transformers can rebuild.

    Attributes
    ----------
    path : Path
        The file.
    architecture : str
        The model's architecture by the names of llama.cpp.
    file_type : str
        How most weights are stored, by the file's own account, such as ``"Q4_K_M"``.
    tensors : mapping of str to GgufTensor
        Every tensor by its name in the file.
    """

    path: Path
    architecture: str
    file_type: str
    tensors: Mapping[str, GgufTensor]

    @property
    def quantized(self) -> bool:
        """Whether any tensor is stored in blocks."""
        return any(tensor.type not in _PLAIN for tensor in self.tensors.values())

    def provenance(self, dtype: str) -> str:
        """Return how the weights were stored and what they became, for the store.

        Parameters
        ----------
        dtype : str
            The dtype that the model was loaded in.

        Returns
        -------
        str
            Such as ``"Q4_1 (Q4_1, Q6_K, F32), dequantized to float32"``; the commonest type first.
        """
        counts: Counter[str] = Counter()
        for tensor in self.tensors.values():
            counts[tensor.type] += tensor.n_numbers
        types = ", ".join(name for name, _ in counts.most_common())
        return f"{self.file_type} ({types}), {'dequantized to' if self.quantized else 'read as'} {dtype}"

    def refuse_lost_numbers(self, model: Any) -> None:
        """Refuse a loaded model that does not hold each number of the file once.

        transformers skips tensors that have no place in the model that it built, such as the biases of a kind
        of attention that it takes to have none.

        Parameters
        ----------
        model : transformers.PreTrainedModel
            The model with the weights of this file.

        Raises
        ------
        InputError
            If the model's weights are more or fewer numbers than the file has.
        """
        there = dict(self.tensors)
        head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
        if head is not None and head.weight is embedding.weight:
            there.pop("output.weight", None)  # a copy of the embedding, in some files of tied models
        n_file = sum(tensor.n_numbers for tensor in there.values())
        n_model = sum(weight.numel() for weight in model.parameters())
        if n_file != n_model:
            rule = f"the {n_model:,} of {type(model).__name__}, as transformers builds it from this file"
            at = f"{self.path}, architecture {self.architecture}"
            raise InputError(message("number of weights", n_file, rule, at, _OF_SAFETENSORS))


def gguf_file(name: str) -> GgufFile | None:
    """Read the header of a model that is a GGUF file.

    Parameters
    ----------
    name : str
        The model as the user named it.

    Returns
    -------
    GgufFile or None
        None where the name is no GGUF file's: it neither ends in .gguf nor is a file that begins as one.

    Raises
    ------
    MissingDependencyError
        If gguf or accelerate are not installed; the message names the extra that brings both.
    InputError
        If there is no such file, it is no whole GGUF file of a model, or transformers cannot rebuild the
        model exactly: every reason.
    """
    path = Path(name)
    if path.is_dir() or not (name.lower().endswith(SUFFIX) or _begins_as_gguf(path)):
        return None
    if not path.is_file():
        raise InputError(message("model", name, "a GGUF file that exists", "--model", "Give its path"))
    _require_gguf()
    metadata, tensors = _header(path)
    architecture = str(metadata.get("general.architecture", "none"))
    if problems := [*_problems(path, architecture, metadata, tensors)]:
        raise InputError(problems)
    return GgufFile(
        path=path,
        architecture=architecture,
        file_type=_file_type(metadata, tensors),
        tensors=tensors,
    )


@contextmanager
def for_transformers(file: GgufFile) -> Iterator[dict[str, str]]:
    """Show transformers a GGUF file, for the length of a ``with`` block.

    The file is shown alone in a folder, since transformers takes the tokenizer of a folder before that of a
    GGUF file in it. Three things that its reader uses are replaced: the progress bar, which does not heed
    transformers' own setting, by none; gguf's parser, which makes objects of every token of the vocabulary
    three times over (a minute for Gemma's 262,144), by one that skips them, since the tokenizer has a reader
    of its own; and gguf's table of names, which is made anew for each of a model's modules, by one that is
    made once.

    Parameters
    ----------
    file : GgufFile
        The file.

    Yields
    ------
    dict of str to str
        Arguments for transformers' ``from_pretrained``.
    """
    import gguf
    from transformers import modeling_gguf_pytorch_utils as reader

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="qloc-gguf-"))
        (Path(folder) / f"model{SUFFIX}").symlink_to(file.path.absolute())
        stack.enter_context(_replaced(gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map)))
        if hasattr(reader, "tqdm"):
            stack.enter_context(_replaced(reader, "tqdm", partial(reader.tqdm, disable=True)))
        if importlib.util.find_spec(
            "transformers.integrations.gguf"
        ):  # before 5.23, tokens are from this parser
            stack.enter_context(_replaced(gguf, "GGUFReader", _skipping(gguf.GGUFReader)))
        yield {"pretrained_model_name_or_path": folder, "gguf_file": f"model{SUFFIX}"}


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _skipping(reader: type[Any]) -> type[Any]:
    """Return gguf's parser, but for long arrays, of which it keeps only how long they are."""
    from gguf import GGUFValueType

    class Skipping(reader):  # type: ignore[misc]
        def _get_field_parts(
            self, orig_offs: int, raw_type: int
        ) -> tuple[int, list[Any], list[int], list[Any]]:
            cursor = _Cursor(self.data, orig_offs)
            if raw_type != _ARRAY or (length := cursor.take("IQ")[1]) <= _LONG:
                parts: tuple[int, list[Any], list[int], list[Any]] = super()._get_field_parts(
                    orig_offs, raw_type
                )
                return parts
            cursor.at = orig_offs
            cursor.value(_ARRAY)
            zero = np.zeros(1, np.uint8)
            kinds = [GGUFValueType.ARRAY, GGUFValueType.UINT8]
            return cursor.at - orig_offs, [zero], [0] * length, kinds

    return Skipping


def dequantizing() -> dict[str, Any]:
    """Return what makes transformers give plain float weights, whatever kernels for blocks are installed.

    Returns
    -------
    dict of str to Any
        Arguments for ``from_pretrained``. transformers before 5.23 has no such setting, and always does so.
    """
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}


def _begins_as_gguf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _require_gguf() -> None:
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        rule = "installed; qloc[gguf] brings it"
        action = "In the clone, run: pip install -c constraints.txt '.[extract,gguf]'"
        raise MissingDependencyError(
            message(f"package {missing[0]}", "missing", rule, "--model with a .gguf file", action)
        )


class _Cursor:
    """Reads a GGUF header, value by value."""

    def __init__(self, there: Any, at: int = 0) -> None:
        self.there, self.at = there, at

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self.there, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def text(self) -> str:
        (length,) = self.take("Q")
        return bytes(self.take(f"{length}s")[0]).decode()

    def value(self, kind: int) -> Any:
        """Return a value of metadata; of an array, None: those of vocabularies are long, and not needed."""
        if kind == _TEXT:
            return self.text()
        if kind != _ARRAY:
            return self.take(_SCALARS[kind])[0]
        kind, length = self.take("IQ")
        if kind in _SCALARS:
            self.at += length * struct.calcsize(f"<{_SCALARS[kind]}")
        else:
            for _ in range(length):
                if kind == _TEXT:
                    self.at += 8 + struct.unpack_from("<Q", self.there, self.at)[0]
                else:
                    self.value(kind)
        return None


def _header(path: Path) -> tuple[dict[str, Any], dict[str, GgufTensor]]:
    """Return metadata and tensors of a GGUF file whose numbers are all there."""
    action = "Download or convert it again"
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as there:
            cursor = _Cursor(there)
            magic, version = cursor.take("4sI")
            if magic != _MAGIC or version not in _VERSIONS:
                got = "no GGUF file" if magic != _MAGIC else f"version {version}, or of another byte order"
                raise InputError(message("GGUF", got, "version 2 or 3, little-endian", str(path), action))
            n_tensors, n_values = cursor.take("QQ")
            metadata = {}
            for _ in range(n_values):
                name = cursor.text()
                metadata[name] = cursor.value(cursor.take("I")[0])
            rows = [_tensor(cursor) for _ in range(n_tensors)]
            step = int(metadata.get("general.alignment", 32))
            last = -(-cursor.at // step) * step + max((end for _, _, end in rows), default=0)
            if last > len(there):
                raise struct.error(f"it has {len(there):,} bytes of {last:,}")
    except (struct.error, KeyError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            message("GGUF", "incomplete", f"a whole file ({error})", str(path), action)
        ) from None
    return metadata, {name: tensor for name, tensor, _ in rows}


def _tensor(cursor: _Cursor) -> tuple[str, GgufTensor, int]:
    """Return a tensor's name, what it is, and where its bytes end."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name = cursor.text()
    (n_axes,) = cursor.take("I")
    n_numbers = prod(cursor.take(f"{n_axes}Q"))
    number, offset = cursor.take("IQ")
    if number not in [*GGMLQuantizationType]:
        return name, GgufTensor(type=f"type {number}", n_numbers=n_numbers), offset
    kind = GGMLQuantizationType(number)
    in_block, n_bytes = GGML_QUANT_SIZES[kind]
    return name, GgufTensor(type=kind.name, n_numbers=n_numbers), offset + n_numbers // in_block * n_bytes


def _problems(
    path: Path, architecture: str, metadata: Mapping[str, Any], tensors: Mapping[str, GgufTensor]
) -> Iterator[str]:
    """Yield why transformers cannot rebuild a model exactly."""
    import transformers

    at = str(path)
    if (kind := metadata.get("general.type", "model")) != "model":
        yield message("GGUF", f"of type {kind}", "a language model", at, "Give the model's own file")
    if (parts := metadata.get("split.count") or 1) > 1:
        action = "Join them with llama-gguf-split --merge"
        yield message("GGUF", f"one of {parts} parts", "one whole file", at, action)
    known, exact = _architectures()
    squeezed = architecture.translate(_SQUEEZE)
    if squeezed not in {name.translate(_SQUEEZE) for name in known}:
        rule = f"one that transformers {transformers.__version__} can rebuild: {', '.join(sorted(known))}"
        yield message("GGUF architecture", architecture, rule, at, _OF_SAFETENSORS)
    types = sorted({tensor.type for tensor in tensors.values()})
    if unknown := [name for name in types if not _dequantizable(name)]:
        rule = "types that the installed gguf can dequantize"
        action = f"Quantize the model otherwise, or {_OF_SAFETENSORS[0].lower()}{_OF_SAFETENSORS[1:]}"
        yield message("GGUF quantization", ", ".join(unknown), rule, at, action)
    if architecture not in exact:
        yield from _dropped(at, architecture, metadata, tensors)


_SQUEEZE: Final = str.maketrans("", "", "-_")
"""llama.cpp writes qwen2moe, transformers qwen2_moe."""


def _architectures() -> tuple[set[str], set[str]]:
    """Return the architectures that transformers rebuilds, and those that its newer reader rebuilds."""
    from transformers import modeling_gguf_pytorch_utils as reader

    known = set(reader.GGUF_SUPPORTED_ARCHITECTURES) - {"general", "tokenizer"}
    try:
        from transformers.integrations.gguf.gguf_config_mapping import GGUF_CONFIG_ARCHS
    except ImportError:  # before 5.23 there was one reader
        return known, set()
    return known | set(GGUF_CONFIG_ARCHS), set(GGUF_CONFIG_ARCHS)


def _dequantizable(name: str) -> bool:
    """Return whether gguf makes numbers of a type, tried on one block of zeros."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    if name not in GGMLQuantizationType.__members__:
        return False
    kind = GGMLQuantizationType[name]
    try:
        dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError:
        return False
    return True


def _dropped(
    at: str, architecture: str, metadata: Mapping[str, Any], tensors: Mapping[str, GgufTensor]
) -> Iterator[str]:
    """Yield what says that rotary positions are scaled, which transformers' older reader drops in silence."""
    prefix = f"{architecture}.rope.scaling"
    kind, factor = metadata.get(f"{prefix}.type", "none"), metadata.get(f"{prefix}.factor", 1.0)
    scaled = kind not in ("none", "") and factor not in (0.0, 1.0)
    names = [name for name in _ROTARY if name in tensors] + ([f"{prefix}.type={kind}"] if scaled else [])
    if names:
        rule = (
            "rotary positions that are not scaled: transformers drops their scaling when it reads a GGUF file"
        )
        yield message("GGUF", f"a model with {', '.join(names)}", rule, at, _OF_SAFETENSORS)


def _file_type(metadata: Mapping[str, Any], tensors: Mapping[str, GgufTensor]) -> str:
    """Return how most weights are stored, as the file says or else as its largest tensor is."""
    from gguf import LlamaFileType

    number = int(metadata.get("general.file_type", LlamaFileType.GUESSED))
    if number in [*LlamaFileType] and number != LlamaFileType.GUESSED:
        return LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    return max(tensors.values(), key=lambda tensor: tensor.n_numbers).type if tensors else "none"
