"""Identify a model by its own files, so that an upgrade of transformers leaves its fingerprint as it is.

``config.to_dict()`` has the defaults of the installed version in it (77 keys in one, 39 in another), and a
tokenizer's serialization follows the version of tokenizers. What a checkpoint's files say does not change.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from qloc.canonical_json import digest, file_digest
from qloc.extract.models.torch_settings import quiet

_WEIGHTS: Final = ("*.safetensors", "pytorch_model*.bin")
_TOKENIZER: Final = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*.*",
    "merges.txt",
    "bpe.codes",
    "*.model",
    "*.spm",
    "*.tiktoken",
)
_DTYPES: Final = ("dtype", "torch_dtype")
"""Two names of one setting, the second as older versions write it."""

_NO_NUMBERS: Final = frozenset(
    (
        *("_name_or_path", "transformers_version", "_commit_hash"),
        *("id2label", "label2id", "task_specific_params", "finetuning_task"),
    )
)
"""Keys of a configuration that no log-probability depends on."""

_PIECES: Final = (
    "The capital of France is Paris, isn't it?",
    " Ouagadougou's mayor (born 1 May 1987) says:  'no'.\n\tTwo lines",
    "naïve Ærø — Łódź ﬁn; Привет, мир! Ελλάδα 東京都 नई दिल्ली العربية 🙂",
    "snake_case CamelCase 12,345.678 3e-4 https://example.org/a?b=c#d",
)
"""What the tokens of a tokenizer are compared on; each is cut alone."""

_ROLES: Final = ("bos_token_id", "eos_token_id", "unk_token_id", "mask_token_id")


def of_folder(folder: Path) -> dict[str, Any]:
    """Return what identifies the numbers that a local checkpoint gives; its path is not part of it.

    Parameters
    ----------
    folder : Path
        With ``config.json`` and weights.

    Returns
    -------
    dict of str to Any
        ``weights``, a digest of the files' names and contents, and ``config``, the file's own keys.
    """
    return {"weights": weights_digest(folder), "config": own_keys(_read(folder / "config.json"))}


def of_file(path: Path) -> dict[str, Any]:
    """Return what identifies the numbers that a GGUF file gives: its configuration is in the file too.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to Any
        ``weights``, the sha256 of the file.
    """
    return {"weights": _digest_of(path)}


def of_id(place: str, revision: str | None, config: Any) -> dict[str, Any]:
    """Return what identifies the numbers that a model of the Hub gives.

    Parameters
    ----------
    place : str
        Its id.
    revision : str or None
        Branch, tag or commit.
    config : transformers.PretrainedConfig
        The configuration, for a model without a ``config.json``.

    Returns
    -------
    dict of str to Any
        ``id``, the ``commit`` that the revision pointed to, and ``config``, the file's own keys.
    """
    path = _cached_config(place, revision)
    described = config.to_diff_dict() if path is None else _read(path)
    return {"id": place, "commit": commit(place, revision), "config": own_keys(described)}


def of_tokenizer(tokenizer: Any, folder: Path | None) -> dict[str, Any]:
    """Return what identifies the way in which a tokenizer cuts text, whether it was used before or not.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        The tokenizer.
    folder : Path or None
        Where its files are; None where they are in a GGUF file or belong to a commit of the Hub.

    Returns
    -------
    dict of str to Any
        ``files``, the sha256 of each file in the folder, and ``tokens``, a digest of the ids of a fixed text
        and of the tokens that begin, end and hide text.
    """
    tokens = [*(_ids(tokenizer, piece) for piece in _PIECES), *(getattr(tokenizer, role) for role in _ROLES)]
    files = {} if folder is None else {path.name: _digest_of(path) for path in _files(folder, _TOKENIZER)}
    return {"tokens": digest(tokens)} | ({"files": files} if files else {})


def own_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as JSON, without keys that no number depends on.

    Parameters
    ----------
    config : Mapping
        As in ``config.json``.

    Returns
    -------
    dict of str to Any
        The dtype of the checkpoint under one name, as ``--dtype auto`` takes it.

    Examples
    --------
    >>> own_keys({"n_layer": 2, "torch_dtype": "float16", "transformers_version": "4.56.0"})
    {'n_layer': 2, 'dtype': 'float16'}
    """
    kept = {key: value for key, value in config.items() if key not in _NO_NUMBERS and key not in _DTYPES}
    dtype = next((config[name] for name in _DTYPES if config.get(name)), None)
    named = {} if dtype is None else {"dtype": str(dtype).removeprefix("torch.")}
    return dict(_jsonable(kept | named))


def weights_digest(folder: Path) -> str:
    """Return a digest of the names and contents of a checkpoint's weights.

    Parameters
    ----------
    folder : Path
        The checkpoint.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return digest([[path.name, _digest_of(path)] for path in _files(folder, _WEIGHTS)])


def commit(place: str, revision: str | None) -> str:
    """Return the commit that a branch or tag of the Hub points to.

    Names move, and configurations do not keep the commit.

    Parameters
    ----------
    place : str
        Id of the model.
    revision : str or None
        Branch, tag or commit.

    Returns
    -------
    str
        The commit; the revision's name where it is not known.
    """
    from transformers.utils.hub import extract_commit_hash

    path = _cached_config(place, revision)
    return extract_commit_hash(None if path is None else str(path), None) or revision or "main"


def _cached_config(place: str, revision: str | None) -> Path | None:
    from transformers.utils.hub import cached_file

    with quiet():
        try:
            path = cached_file(place, "config.json", revision=revision)
        except OSError:
            return None
    return None if path is None else Path(path)


# The form of older stores


def older_model(
    config: Any, folder: Path | None, file: Path | None, hub: tuple[str, str | None]
) -> dict[str, Any]:
    """Return the older form of a model's fingerprint, which follows the version of transformers.

    Parameters
    ----------
    config : transformers.PretrainedConfig
        The configuration.
    folder : Path or None
        A local checkpoint.
    file : Path or None
        A GGUF file.
    hub : tuple of str and str or None
        Id and revision, of a model that is neither.

    Returns
    -------
    dict of str to str
        Digests of weights and configuration, or id, commit and digest of the configuration.
    """
    volatile = ("_name_or_path", "transformers_version", "_commit_hash", "torch_dtype")
    described = {key: value for key, value in config.to_dict().items() if key not in volatile}
    kept = {"config": digest(_jsonable(described, finite=False))}
    if file is not None:
        return {"weights": _digest_of(file), **kept}
    if folder is None:
        return {"id": hub[0], "commit": commit(*hub), **kept}
    return {"weights": weights_digest(folder), **kept}


def older_tokenizer(tokenizer: Any, padding: Any, truncation: Any) -> str:
    """Return the older form of a tokenizer's fingerprint: a digest of its serialization.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        The tokenizer.
    padding : dict or None
        How it padded when it was read; use changes it.
    truncation : dict or None
        How it truncated when it was read.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    from tokenizers import Tokenizer

    unused = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    if padding is None:
        unused.no_padding()
    else:
        unused.enable_padding(**padding)
    if truncation is None:
        unused.no_truncation()
    else:
        unused.enable_truncation(**truncation)
    specials = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    return digest([unused.to_str(), specials])


def is_older(made_from: Mapping[str, Any]) -> bool:
    """Return whether the fingerprint of a store's signals has the model in the older form.

    Parameters
    ----------
    made_from : Mapping
        What the fingerprint is made from.

    Returns
    -------
    bool
        False for the present form, and where the store was made without a model.

    Examples
    --------
    >>> is_older({"model": {"config": "1f0a"}}), is_older({"model": {"config": {"n_layer": 2}}})
    (True, False)
    """
    model = made_from.get("model")
    return isinstance(model, Mapping) and isinstance(model.get("config"), str)


# Files


def _ids(tokenizer: Any, piece: str) -> list[int] | None:
    """Return the ids of a piece; None from a vocabulary that has neither its words nor a token for others."""
    try:
        return list(tokenizer(piece, verbose=False)["input_ids"])
    except Exception:  # tokenizers raises nothing more special
        return None


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))


def _files(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    yield from sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _digest_of(path: Path) -> str:
    return _digest_unless_changed(path, path.stat().st_mtime_ns)


@functools.cache
def _digest_unless_changed(path: Path, _changed: int) -> str:
    return file_digest(path)


def _jsonable(value: Any, *, finite: bool = True) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(part, finite=finite) for key, part in value.items()}
    if isinstance(value, list | tuple | set):
        return [_jsonable(part, finite=finite) for part in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and (not finite or math.isfinite(value)):
        return value
    return str(value)
