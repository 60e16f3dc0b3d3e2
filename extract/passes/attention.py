"""Record or change attention while a model runs: each head's row of the target, and its column masses.

It works through transformers' ``AttentionInterface``: one registered function computes attention in the
open and hands its weights to the caller. There are two silent traps. Registered alone, the function is
given no causal mask (so ``eager_mask`` is registered under the same name); and some families ignore the
registry without a word. So the function is proved when a model is loaded: one call a layer, and logits
equal to those of ``eager`` attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qloc.extract.models.devices import stacked
from qloc.extract.models.out_of_memory import in_halves, raise_if_out_of_memory
from qloc.extract.models.torch_settings import quiet
from qloc.extract.prompts.tokenizing import Target

_NAME: Final = "qloc_open"

AttentionChange = Callable[[Tensor], Tensor]
"""Called once a layer, in order: attention weights, (row, head, token, token) → those to go on with."""

_BATCH_BYTES: Final = 256 * 2**20
"""Attention weights of one batch, all layers."""


def _attention(change: AttentionChange) -> Callable[..., tuple[Tensor, Tensor]]:
    """Compute attention: scores, scale, soft-cap, mask, softmax in float32, change, weighted sum."""

    def attend(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        softcap: float | None = None,
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap
        if attention_mask is not None:
            scores = scores + attention_mask[..., : key.shape[-2]]
        weights = change(scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)))
        return (weights.to(value.dtype) @ value).transpose(1, 2).contiguous(), weights

    return attend


@contextmanager
def attending(model: Any, change: AttentionChange) -> Iterator[None]:
    """Let every attention layer that runs inside hand its weights to a function, and go on with its result.

    The model's own attention implementation, and the registries, are restored when it ends.

    Parameters
    ----------
    model : transformers model
        The model that runs inside.
    change : AttentionChange
        Called once a layer, in order.

    Yields
    ------
    None
        The context in which attention is changed.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    before = model.config._attn_implementation
    AttentionInterface.register(_NAME, _attention(change))
    AttentionMaskInterface.register(_NAME, eager_mask)
    try:
        model.set_attn_implementation(_NAME)
        yield
    finally:
        model.set_attn_implementation(before)
        AttentionInterface._global_mapping.pop(_NAME, None)
        AttentionMaskInterface._global_mapping.pop(_NAME, None)


@contextmanager
def recording(model: Any) -> Iterator[list[Tensor]]:
    """Record the weights of every attention layer that runs inside.

    Parameters
    ----------
    model : transformers model
        The model that runs inside.

    Yields
    ------
    list of Tensor, each of shape (query, head, token, token)
        Grows by one tensor for each layer that runs.
    """
    kept: list[Tensor] = []

    def keep(weights: Tensor) -> Tensor:
        kept.append(weights.detach())
        return weights

    with attending(model, keep):
        yield kept


@quiet()
@torch.no_grad()
def why_not_recorded(model: Any, target: Target, n_layers: int) -> str:
    """Return why attention cannot be recorded on this model, or an empty string where it can.

    Recorded attention is trusted only after one call a layer and logits equal to those of ``eager``
    attention.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    target : Target
        A prompt to try it on.
    n_layers : int
        Number of attention layers, each of which must call the function once.

    Returns
    -------
    str
        The reason, for users to read.
    """
    ids = torch.tensor([target.ids], device=next(iter(model.parameters())).device)
    before = model.config._attn_implementation
    try:
        with recording(model) as kept:
            logits = model(input_ids=ids).logits
            calls, shapes = len(kept), {tuple(weights.shape[2:]) for weights in kept}
        model.set_attn_implementation("eager")
        expected = model(input_ids=ids).logits
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise_if_out_of_memory(error)
        return f"{model.config.model_type} does not run with a registered attention function ({error})"
    finally:
        model.set_attn_implementation(before)
    if calls != n_layers or shapes != {(ids.shape[1], ids.shape[1])}:
        kind = model.config.model_type
        return f"{kind} called the registered attention function {calls} times for {n_layers} layers"
    scale = expected.abs().max().clamp_min(1.0)
    allowed = 1e-4 if logits.dtype in (torch.float32, torch.float64) else 5e-2
    if float((logits - expected).abs().max() / scale) > allowed:
        return f"{model.config.model_type} gives other logits with the registered attention function"
    return ""


def attention_of_all(
    model: Any, targets: Sequence[Target], sizes: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """Record attention of targets of any lengths, in batches of bounded memory.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    targets : sequence of Target
        Targets of any lengths.
    sizes : mapping of str to int
        Lengths of the axes ``layer``, ``head`` and ``token``.

    Returns
    -------
    dict of str to ndarray
        The arrays of :func:`recorded_attention`, in the order of ``targets``.
    """
    n_layers, n_heads, n_tokens = sizes["layer"], sizes["head"], sizes["token"]
    shape = (len(targets), n_layers, n_heads, n_tokens)
    names = ("target_row", "column_mass", "column_mass_no_sink")
    kept: dict[str, NDArray[Any]] = {name: np.full(shape, np.nan, dtype=np.float16) for name in names}
    kept["length"] = np.full(len(targets), -1, dtype=np.int32)

    def run(chosen: list[tuple[int, Target]]) -> dict[str, NDArray[Any]]:
        return recorded_attention(model, [target for _, target in chosen], n_tokens)

    by_length: dict[int, list[int]] = {}
    for index, target in enumerate(targets):
        by_length.setdefault(len(target.ids), []).append(index)
    for length, indices in sorted(by_length.items()):
        size = max(1, _BATCH_BYTES // (4 * n_layers * n_heads * length * length))
        for start in range(0, len(indices), size):
            chosen = [(index, targets[index]) for index in indices[start : start + size]]
            for done, arrays in in_halves("attention", chosen, run):
                for name, values in arrays.items():
                    kept[name][[index for index, _ in done]] = values
    return kept


@torch.no_grad()
def recorded_attention(model: Any, targets: Sequence[Target], n_tokens: int) -> dict[str, NDArray[Any]]:
    """Record what ``/attention`` stores of targets of equal length.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    targets : sequence of Target
        Targets, all with as many ids.
    n_tokens : int
        Length of the axis ``token``; entries beyond the prompt are NaN.

    Returns
    -------
    dict of str to ndarray
        For attention A of each head, each float16, shape (query, layer, head, token): ``target_row``
        A[target, k]; ``column_mass`` c[k] = Σ_j A[j, k]; ``column_mass_no_sink``, the same after the first
        token is dropped as row and column and rows are renormalized. And ``length``, int32, shape (query,),
        the prompts' lengths.
    """
    ids = torch.tensor([target.ids for target in targets], device=next(iter(model.parameters())).device)
    position = torch.tensor([target.position for target in targets], device=ids.device)
    rows, masses, bare = [], [], []
    with recording(model) as kept:
        model(input_ids=ids)
        for weights in kept:
            each = torch.arange(len(ids), device=weights.device)
            rows.append(weights[each, :, position.to(weights.device)])
            masses.append(weights.sum(2))
            bare.append(mass_without_sink(weights))
    by_name = {"target_row": rows, "column_mass": masses, "column_mass_no_sink": bare}
    padded = {name: _padded(stacked(parts, ids.device), n_tokens) for name, parts in by_name.items()}
    return {**padded, "length": np.full(len(targets), ids.shape[1], dtype=np.int32)}


def mass_without_sink(weights: Tensor) -> Tensor:
    """Return column masses without the first token, which many heads use as a place to attend to nothing.

    Parameters
    ----------
    weights : Tensor, shape (query, head, token, token)
        Attention weights.

    Returns
    -------
    Tensor, shape (query, head, token)
        Σ_j of rows renormalized over the other tokens; NaN for the first token.
    """
    inner = weights[:, :, 1:, 1:]
    total = inner.sum(-1, keepdim=True)
    shares = torch.where(
        total > 0, inner / total.clamp_min(torch.finfo(total.dtype).tiny), torch.zeros_like(inner)
    )
    mass = shares.sum(2)
    return torch.cat([torch.full_like(mass[..., :1], torch.nan), mass], -1)


def _padded(values: Tensor, n_tokens: int) -> NDArray[np.float16]:
    full = np.full((*values.shape[:-1], n_tokens), np.nan, dtype=np.float16)
    full[..., : values.shape[-1]] = values.cpu().numpy()
    return full
