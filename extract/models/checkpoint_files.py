"""Refuse a local checkpoint whose files cannot be what it is made of, before any work, by each file's name.

Clones without git-lfs hold pointers of three lines in the place of large files, and downloads break off.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from qloc.errors import InputError, message

_READ: Final = ("config.json", "*.safetensors", "pytorch_model*.bin", "tokenizer*", "vocab*.*", "*.model")
_PICKLE: Final = b"\x80"
"""What files of torch before 1.6 begin with; newer ones are zip archives."""

_POINTER: Final = b"version https://git-lfs"
_MOST_HEADER: Final = 100_000_000
"""Bytes of the longest header of a safetensors file that its readers take."""

PLAIN_WEIGHTS: Final = "weights that are plain floats"
UNQUANTIZED: Final = "Give the checkpoint that it was made from, or a GGUF file, whose blocks are dequantized"
"""Rule and advice where a checkpoint is quantized."""

_FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})
"""Types of weights in safetensors files that are what they say, without a scale beside them."""


def refuse_broken_files(folder: Path) -> None:
    """Refuse a checkpoint with pipes, pointers of git-lfs, or empty or incomplete files in it.

    Parameters
    ----------
    folder : Path
        A local checkpoint, or any other path, which is left alone.

    Raises
    ------
    InputError
        Each such file.
    """
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    if odd := [path for path in inside if path.exists() and not path.is_file() and not path.is_dir()]:
        rule, action = "ordinary files, as in a checkpoint", "Give a checkpoint's folder"
        raise InputError(message("model's file", odd[0].name, rule, str(folder), action))
    read = {path for pattern in _READ for path in folder.glob(pattern) if path.is_file()} if inside else set()
    if problems := [problem for path in sorted(read) for problem in _problems(path)]:
        raise InputError(problems)


def refuse_integers(folder: Path) -> None:
    """Refuse weights that are integers or eight-bit floats, though the configuration has no word of it.

    They are quantized, and transformers would read them without the scales that they are multiplied by.

    Parameters
    ----------
    folder : Path
        A local checkpoint, or any other path, which is left alone.

    Raises
    ------
    InputError
        Each file with such a weight.
    """
    problems = []
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        header = _safetensors_header(path, path.stat().st_size) or {}
        types = {name: entry["dtype"] for name, entry in header.items() if name.endswith(".weight")}
        if odd := next((name for name, kind in types.items() if kind not in _FLOATS), None):
            got = f"{path.name}, whose {odd} is {types[odd]}"
            problems.append(message("model's file", got, PLAIN_WEIGHTS, str(folder), UNQUANTIZED))
    if problems:
        raise InputError(problems)


def refuse_without_vocabulary(tokenizer: Any, n_embeddings: int | None, name: str) -> None:
    """Refuse a tokenizer that has special tokens alone, or more tokens than the model has embeddings.

    transformers makes the first from a folder without a tokenizer's files. Tokens that were added later may
    lie beyond the embeddings, as a padding token often does: they are not asked.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        The model's tokenizer.
    n_embeddings : int or None
        Rows of the model's embedding, as its configuration says; None where it does not.
    name : str
        The model as the user named it.

    Raises
    ------
    InputError
        It is such a tokenizer, or not one of the library tokenizers, which alone tell where tokens lie.
    """
    action = "Put the files of the model's own tokenizer beside its weights"
    if not getattr(tokenizer, "is_fast", False):
        rule, got = (
            "one with a tokenizer.json, which tells where in a text each token lies",
            type(tokenizer).__name__,
        )
        raise InputError(message("tokenizer", got, rule, name, "Give a model that has one"))
    if len(tokenizer) <= len(set(tokenizer.all_special_tokens)):
        rule = "the vocabulary that the model was trained with"
        raise InputError(message("tokenizer", "without any words", rule, name, action))
    n_tokens = tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False)
    mask = tokenizer.mask_token_id
    if n_embeddings is not None and max(n_tokens, 0 if mask is None else mask + 1) > n_embeddings:
        got, rule = (
            f"of {n_tokens:,} tokens",
            f"at most {n_embeddings:,}, as many as the model has embeddings",
        )
        raise InputError(message("tokenizer", got, rule, name, action))


def _problems(path: Path) -> Iterator[str]:
    size, again = path.stat().st_size, "Download it again"
    with path.open("rb") as opened:
        begins = opened.read(len(_POINTER))
    if begins == _POINTER:
        rule, action = "the file itself", "Run git lfs pull in the clone"
        yield message("model's file", f"{path.name}, a pointer of git-lfs", rule, str(path.parent), action)
    elif not size:
        yield message("model's file", f"{path.name}, empty", "the file itself", str(path.parent), again)
    elif path.suffix == ".safetensors" and (expected := _safetensors_size(path, size)) != size:
        got = f"{path.name}, {size:,} bytes"
        rule = "a file of safetensors" if expected is None else f"{expected:,} bytes, as its header says"
        yield message("model's file", got, rule, str(path.parent), again)
    elif path.suffix == ".bin" and not (begins.startswith(_PICKLE) or zipfile.is_zipfile(path)):
        got, rule = f"{path.name}, {size:,} bytes", "a whole file of torch"
        yield message("model's file", got, rule, str(path.parent), again)


def _safetensors_size(path: Path, size: int) -> int | None:
    """Return the size that a file's header says; None where it has no header."""
    header = _safetensors_header(path, size)
    if header is None:
        return None
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
    return 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)


def _safetensors_header(path: Path, size: int) -> dict[str, dict[str, Any]] | None:
    """Return type and place of each tensor of a file; None where it has no header."""
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 0 < length <= min(_MOST_HEADER, size - 8):
            return None
        try:
            header = json.loads(opened.read(length))
            header.pop("__metadata__", None)
            for entry in header.values():
                entry["dtype"], int(entry["data_offsets"][1])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
    return dict(header)
