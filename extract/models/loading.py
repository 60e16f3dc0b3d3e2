"""Find models by id, folder or GGUF file; read configuration and tokenizer at once, weights when needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from qloc.errors import InputError, message
from qloc.extract.embedded import checkpoint
from qloc.extract.models import fingerprint
from qloc.extract.models.architectures import Paths, Sites, sites
from qloc.extract.models.checkpoint_files import (
    refuse_broken_files,
    refuse_integers,
    refuse_without_vocabulary,
)
from qloc.extract.models.devices import MAP, Placement, accelerate_installed, spread
from qloc.extract.models.gguf_file import GgufFile, dequantizing, for_transformers, gguf_file
from qloc.extract.models.other_weights import (
    refuse_adapter,
    refuse_mismatched,
    refuse_missing,
    refuse_unexpected,
)
from qloc.extract.models.out_of_memory import raise_if_out_of_memory
from qloc.extract.models.permuted_weights import permute_weights
from qloc.extract.models.torch_settings import quiet
from qloc.extract.models.unsupported import refuse_unsupported
from qloc.extract.prompts.tokenizing import Encoder, Family
from qloc.vocabulary import PERMUTED

_EMBEDDED: Final = "embedded:"
_CONTEXT: Final = ("max_position_embeddings", "n_positions", "max_seq_len")
_ROBERTAS: Final = (
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "xmod"),
    *("data2vec-text", "longformer", "ibert", "luke"),
)
_AFTER_PADDING: Final = {**dict.fromkeys(_ROBERTAS, 0), "mpnet": 2}
"""Models whose positions start after the padding index → that many rows less; 0 for pad_token_id + 1."""

_REPORTED: Final[dict[str, Any]] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""What does not fit is told by transformers, and refused here by name."""

_NO_CODE: Final[dict[str, Any]] = {"trust_remote_code": False}
"""A checkpoint's own code is never run; if this is left out, transformers asks on the terminal."""


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model before its weights are read.

    Attributes
    ----------
    name : str
        The model as the user named it.
    place : str
        Id, folder or GGUF file.
    revision : str or None
        Branch, tag or commit of an id.
    config : transformers.PretrainedConfig
        The model's configuration.
    tokenizer : transformers.PreTrainedTokenizerBase
        The model's tokenizer.
    family : {"causal", "masked"}
        Kind of model.
    paths : Paths or None
        Module paths that the user named.
    gguf : GgufFile or None
        What is in the file, where the model is a GGUF file.
    permuted : bool, default False
        Whether its weights are permuted once they are read.
    as_read : tuple of two dict or None
        How the tokenizer padded and truncated when it was read; use changes it.
    """

    name: str
    place: str
    revision: str | None
    config: Any
    tokenizer: Any
    family: Family
    paths: Paths | None = None
    gguf: GgufFile | None = None
    permuted: bool = False
    as_read: tuple[Any, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Keep the tokenizer's state before its first use."""
        backend = self.tokenizer.backend_tokenizer
        object.__setattr__(self, "as_read", (backend.padding, backend.truncation))

    @property
    def folder(self) -> Path | None:
        """Folder of a local checkpoint; None for an id."""
        return Path(self.place) if Path(self.place).is_dir() else None

    @property
    def own_code(self) -> str:
        """Class of the checkpoint's own code (``auto_map``), in whose place transformers' is run; or ""."""
        classes = getattr(self.config, "auto_map", None) or {}
        return str(classes.get(self._auto.__name__, ""))

    def encoder(self) -> Encoder:
        """Return the encoder that puts queries to this model.

        Returns
        -------
        Encoder
            The tokenizer, with the model's family and its largest number of positions.
        """
        text = self.config.get_text_config()
        settings = (getattr(text, name, None) for name in _CONTEXT)
        longest = next((setting for setting in settings if setting), 2**31)
        if (kind := self.config.model_type) in _AFTER_PADDING:
            longest -= _AFTER_PADDING[kind] or (self.config.pad_token_id or 0) + 1
        return Encoder(tokenizer=self.tokenizer, family=self.family, longest=int(longest))

    def fingerprint(self, *, older: bool = False) -> dict[str, Any]:
        """Return what identifies the numbers that this model gives; its path is not part of it.

        Parameters
        ----------
        older : bool, default False
            Whether to give the form that older stores have: it follows the version of transformers.

        Returns
        -------
        dict of str to Any
            Digest of the weights and the configuration file's own keys (folder), id, commit and those keys
            (id), or the sha256 of the file (GGUF).
        """
        found = self._fingerprint(older)
        return {**found, "permuted": True} if self.permuted else found

    def _fingerprint(self, older: bool) -> dict[str, Any]:
        file = None if self.gguf is None else self.gguf.path
        if older:
            return fingerprint.older_model(self.config, self.folder, file, (self.place, self.revision))
        if file is not None:
            return fingerprint.of_file(file)
        if self.folder is not None:
            return fingerprint.of_folder(self.folder)
        return fingerprint.of_id(self.place, self.revision, self.config)

    def tokenizer_fingerprint(self, *, older: bool = False) -> dict[str, Any] | str:
        """Return what identifies the vocabulary and the rules that cut text into tokens.

        Parameters
        ----------
        older : bool, default False
            Whether to give the form that older stores have: it follows the version of tokenizers.

        Returns
        -------
        dict of str to Any or str
            Digests of the tokenizer's files and of the tokens of a fixed text; a single digest if ``older``.
        """
        if older:
            return fingerprint.older_tokenizer(self.tokenizer, *self.as_read)
        return fingerprint.of_tokenizer(self.tokenizer, self.folder)

    def load(self, *, dtype: str, device: str, spare: int = 0) -> LoadedModel:
        """Read the weights, in evaluation mode and without gradients for them.

        Parameters
        ----------
        dtype : str
            Name of torch's dtype; ``auto`` for that of the checkpoint, which for a GGUF file is float32: what
            its blocks are dequantized to.
        device : str
            Device as in a plan; ``map`` spreads the blocks over all GPUs.
        spare : int
            Bytes that each GPU of a map keeps free for rows.

        Returns
        -------
        LoadedModel
            The model and its modules.

        Raises
        ------
        InputError
            If the checkpoint lacks weights that the architecture needs, or has others or of other shapes,
            the weights cannot be read, or they do not fit on the GPUs of a map.
        """
        if self.gguf is not None and dtype == "auto":
            dtype = "float32"
        wanted = dtype if dtype == "auto" else getattr(torch, dtype)
        where = self._spread(wanted, spare) if device == MAP else {"": device_of(device)}
        straight = where.get("") != torch.device("cpu") and accelerate_installed()  # else by way of the CPU
        direct = {"device_map": where} if straight else {}
        # The configuration of a GGUF file takes seconds to read, and is here already.
        known = {} if self.gguf is None else {"config": self.config, **dequantizing()}
        with quiet(), _read_from(self.place, self.revision, self.gguf) as source_of:
            try:
                model, report = self._auto.from_pretrained(
                    **source_of, **known, **direct, **_REPORTED, **_NO_CODE, dtype=wanted
                )
            except Exception as error:  # whatever a damaged file of somebody leads to
                raise_if_out_of_memory(error)
                raise _unreadable(self.name, "weights", error) from None
        refuse_mismatched(report["mismatched_keys"], model, self.name)
        if self.gguf is None:
            refuse_unexpected(report["unexpected_keys"], model, self.name)
        refuse_missing(report["missing_keys"], model, self.name)
        if self.gguf is not None:
            self.gguf.refuse_lost_numbers(model)
            _align(model)
        if not direct:
            model = model.to(where[""])
        if self.permuted:
            permute_weights(model)
        model = model.eval().requires_grad_(False)
        return LoadedModel(model=model, sites=sites(model, self.paths), family=self.family)

    def _spread(self, dtype: Any, spare: int) -> Placement:
        """Return the device of every module, before any weight is read."""
        own = getattr(self.config.get_text_config(), "dtype", None) or torch.float32
        with quiet(), torch.device("meta"):
            empty = self._auto.from_config(self.config, dtype=own if dtype == "auto" else dtype)
        return spread(empty, sites(empty, self.paths).blocks, spare, self.name)

    @property
    def _auto(self) -> Any:
        from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

        return AutoModelForMaskedLM if self.family == "masked" else AutoModelForCausalLM


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model with its weights, and the modules that extraction reads.

    Attributes
    ----------
    model : transformers.PreTrainedModel
        The model.
    sites : Sites
        Its blocks, down-projections and output embedding.
    family : {"causal", "masked"}
        Kind of model.
    """

    model: Any
    sites: Sites
    family: Family

    @property
    def device(self) -> torch.device:
        """Device of the model's inputs."""
        device: torch.device = next(iter(self.model.parameters())).device
        return device


def source(name: str, revision: str | None = None, paths: Paths | None = None) -> ModelSource:
    """Find a model, and read all but its weights.

    Parameters
    ----------
    name : str
        The model as the user named it: an id, a folder, a GGUF file, ``embedded:causal`` or
        ``embedded:masked``; ``permuted:`` before it permutes its weights.
    revision : str or None
        Branch, tag or commit of an id.
    paths : Paths or None
        Module paths that the user named.

    Returns
    -------
    ModelSource
        The model without its weights.

    Raises
    ------
    InputError
        If there is no such checkpoint, its type is unknown or unsupported, it has an adapter beside its
        weights or needs code of its own, its tokenizer cannot be read, files of a folder are broken or
        pointers, its weights are quantized, or a revision of a folder or file is asked for.
    MissingDependencyError
        If the model is a GGUF file and what reads it is not installed.
    """
    trained = name.removeprefix(PERMUTED)
    kind: Any = trained.removeprefix(_EMBEDDED)
    place = str(checkpoint(kind)) if trained.startswith(_EMBEDDED) else trained
    file = gguf_file(place)
    if revision is not None and (file or Path(place).is_dir()):
        rule = f"none: a {'file' if file else 'folder'} holds one model"
        action = "Leave --revision out, or give a hub id"
        raise InputError(message("revision", revision, rule, name, action))
    refuse_broken_files(Path(place))
    from transformers import AutoConfig, AutoTokenizer

    if file is None:
        refuse_adapter(name, place, revision)
    with quiet(), _read_from(place, revision, file) as source_of:
        try:
            config = AutoConfig.from_pretrained(**source_of, **_NO_CODE)
        except Exception as error:  # transformers, tokenizers and safetensors have no error in common
            raise _unreadable(name, "configuration", error) from None
        refuse_unsupported(config)
        refuse_integers(Path(place))
        try:
            tokenizer = AutoTokenizer.from_pretrained(**source_of, **_NO_CODE)
        except Exception as error:
            raise _unreadable(name, "tokenizer", error) from None
        refuse_without_vocabulary(tokenizer, getattr(config.get_text_config(), "vocab_size", None), name)
    return ModelSource(
        name=name,
        place=place,
        revision=revision,
        config=config,
        tokenizer=tokenizer,
        family=_family(name, config, tokenizer),
        paths=paths,
        gguf=file,
        permuted=name.startswith(PERMUTED),
    )


def _align(model: Any) -> None:
    """Move weights to where torch puts its own, at multiples of 64 bytes.

    Those of a GGUF file lie where numpy's allocator had room, at other multiples of 16 in each process.
    Products of matrices round by that in their last bits, and units must be equal whoever runs them.
    """
    for weight in model.parameters():
        weight.data = weight.data.clone()


@contextmanager
def _read_from(place: str, revision: str | None, file: GgufFile | None) -> Iterator[dict[str, Any]]:
    """Give the arguments of ``from_pretrained`` that say where a model is, while a ``with`` block lasts."""
    if file is None:
        yield {"pretrained_model_name_or_path": place, "revision": revision}
    else:
        with for_transformers(file) as shown:
            yield dict(shown)


def device_of(device: str) -> torch.device:
    """Return torch's device of a name.

    Parameters
    ----------
    device : str
        Name of a device; ``auto`` is the first GPU if there is one, else the CPU.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    InputError
        If torch does not have the device.
    """
    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        known = torch.device(device)
        torch.empty(0, device=known)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            message("device", device, f"one that torch has ({reason})", "--device", "Give auto, cpu or map")
        ) from None
    return known


def visible_gpus(device: str) -> tuple[str, ...]:
    """Return the GPUs that processes can be pinned to through CUDA_VISIBLE_DEVICES.

    Parameters
    ----------
    device : str
        Device as in a plan.

    Returns
    -------
    tuple of str
        Values for CUDA_VISIBLE_DEVICES; empty if there are no GPUs or a device was named.
    """
    if device != "auto" or not torch.cuda.is_available():
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(visible.split(",")) if visible else tuple(map(str, range(torch.cuda.device_count())))


def _family(name: str, config: Any, tokenizer: Any) -> Family:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    built = " ".join(config.architectures or ())
    causal = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if causal and ("ForCausalLM" in built or "LMHead" in built):
        return "causal"
    if masked and ("ForMaskedLM" in built or not causal or tokenizer.mask_token_id is not None):
        return "masked"
    if causal:
        return "causal"
    rule = "one that AutoModelForCausalLM or AutoModelForMaskedLM loads"
    raise InputError(message("model type", config.model_type, rule, name, "Choose a language model"))


def _unreadable(name: str, part: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    if "trust_remote_code" in reason:
        rule, action = "one whose code transformers has", "Give a model that transformers loads by itself"
        return InputError(message(f"{part} of {name}", "code of its own (auto_map)", rule, name, action))
    if (
        "does not recognize this architecture" in reason
        or "Unrecognized model" in reason
        or isinstance(error, KeyError)
    ):
        rule = "a folder or id whose config.json names a model type that the installed transformers knows"
    else:
        rule = f"an id, a folder or a GGUF file whose {part} transformers can load"
    reason = reason.rstrip(".") or type(error).__name__
    shown = reason if len(reason) < 300 else reason[:297] + "…"
    return InputError(
        message(
            "model",
            name,
            rule,
            f"its {part}: {shown}",
            "Give a Hugging Face id, a checkpoint's folder or .gguf file, embedded:causal or embedded:masked",
        )
    )
