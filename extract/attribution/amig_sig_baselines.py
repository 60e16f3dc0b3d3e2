"""Baselines of AMIG and SIG: the vector of a layer when one token of the prompt is replaced.

b_i is the vector at the target position when prompt token i is replaced by the mask (masked models) or by
the end-of-sequence token (causal models). Special tokens and masks are never replaced. The variants of many
prompts run as the rows of one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from qloc.errors import InputError, message
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.models.devices import stacked
from qloc.extract.models.hooks import hooked, in_turn, without_head
from qloc.extract.prompts.tokenizing import Family, Target, TokenizedQuery

_MOST_POSITIONS: Final = 2048
"""Positions of one forward pass beyond which a larger one is not faster, only larger."""


@dataclass(frozen=True, kw_only=True)
class Replacing:
    """Which tokens of a prompt are replaced, and the token that stands in for them.

    Attributes
    ----------
    token : int
        Id of the token that is put in: the mask, or the end of sequence.
    kept : frozenset of int
        Ids that are never replaced.
    """

    token: int
    kept: frozenset[int]

    @classmethod
    def of(cls, tokenizer: Any, family: Family) -> Replacing:
        """Return the replacement that suits a model's tokenizer.

        All special tokens are kept, except the token of unknown words, which stands for a word.

        Parameters
        ----------
        tokenizer : transformers tokenizer
            The model's own tokenizer.
        family : {"causal", "masked"}
            Kind of model.

        Returns
        -------
        Replacing
            The mask token for a masked model, the end-of-sequence token for a causal one.

        Raises
        ------
        InputError
            When the tokenizer of a causal model has no end-of-sequence token.
        """
        token = tokenizer.mask_token_id if family == "masked" else tokenizer.eos_token_id
        if token is None:
            rule = "one with an end-of-sequence token, which amig and sig put in place of prompt tokens"
            got, action = type(tokenizer).__name__, "Set its eos_token, or leave amig and sig out"
            raise InputError(message("tokenizer", got, rule, "the model's tokenizer", action))
        named = {
            getattr(tokenizer, f"{name}_token_id", None)
            for name in ("bos", "eos", "sep", "pad", "cls", "mask")
        }
        unknown = {tokenizer.unk_token_id} - named
        return cls(token=int(token), kept=frozenset(set(tokenizer.all_special_ids) - unknown))

    def places(self, target: Target) -> list[int]:
        """Return the positions of the tokens that are replaced, one at a time.

        Parameters
        ----------
        target : Target
            The prompt.

        Returns
        -------
        list of int
            Positions in the prompt, ascending.
        """
        return [place for place, token in enumerate(target.ids) if token not in self.kept]

    def variants(self, target: Target) -> list[Target]:
        """Return the prompt once for each replaceable token, with that token replaced.

        Parameters
        ----------
        target : Target
            The prompt.

        Returns
        -------
        list of Target
            One variant for each of :meth:`places`, in their order.

        Examples
        --------
        >>> prompt = Target(ids=(1, 7, 8), position=2, token=5)
        >>> [variant.ids for variant in Replacing(token=0, kept=frozenset({1})).variants(prompt)]
        [(1, 0, 8), (1, 7, 0)]
        """
        ids = target.ids
        return [
            replace(target, ids=(*ids[:place], self.token, *ids[place + 1 :]))
            for place in self.places(target)
        ]


def refuse_without_baseline(replacing: Replacing, asked: Iterable[TokenizedQuery]) -> None:
    """Refuse prompts in which no token can be replaced.

    Parameters
    ----------
    replacing : Replacing
        Which tokens are replaced.
    asked : iterable of TokenizedQuery
        The queries of the study.

    Raises
    ------
    InputError
        When a prompt consists of kept tokens only; every such prompt is listed.
    """
    rule = "at least one token that is not special, for amig and sig"
    bare = dict.fromkeys(
        query.prompt for query in asked if not all(replacing.places(target) for target in query.targets)
    )
    if bare:
        action = "Leave it out, or these methods"
        raise InputError([message("prompt", prompt, rule, "facts", action) for prompt in bare])


@torch.no_grad()
def baselines(engine: GradientEngine, targets: Sequence[Target], replacing: Replacing) -> list[Tensor]:
    """Compute the baselines b_i of every target.

    Parameters
    ----------
    engine : GradientEngine
        The model, and the memory that one pass may take.
    targets : sequence of Target
        Targets of any lengths. Variants of equal length run together, within the engine's memory.
    replacing : Replacing
        Which tokens are replaced, and by what.

    Returns
    -------
    list of Tensor, each of shape (baseline, layer, neuron)
        One tensor for each target; its baselines are in the order of the prompt's tokens.
    """
    of_target = [replacing.variants(target) for target in targets]
    flat = [variant for variants in of_target for variant in variants]
    by_length: dict[int, list[int]] = {}
    for index, variant in enumerate(flat):
        by_length.setdefault(len(variant.ids), []).append(index)
    rows: list[Tensor] = [torch.empty(0)] * len(flat)
    for length, indices in by_length.items():
        size = _rows_a_pass(engine, length)
        for first in range(0, len(indices), size):
            chosen = indices[first : first + size]
            for index, row in zip(chosen, _vectors(engine, [flat[n] for n in chosen]), strict=True):
                rows[index] = row
    in_order = iter(rows)
    return [torch.stack([next(in_order) for _ in variants]) for variants in of_target]


def _vectors(engine: GradientEngine, variants: list[Target]) -> Tensor:
    """Read the vectors at the target of prompts of one length: shape (row, layer, neuron)."""
    ids = torch.tensor([variant.ids for variant in variants], device=engine.device)
    places = torch.tensor([variant.position for variant in variants], device=engine.device)
    seen = dict[int, Tensor]()

    def read(layer: int) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            rows = torch.arange(len(variants), device=args[0].device)
            inputs = args[0].view(len(variants), -1, args[0].shape[-1])
            seen[layer] = inputs[rows, places.to(inputs.device)]

        return hook

    reading = in_turn((module, read(layer)) for layer, module in enumerate(engine.inputs))
    with hooked(forward_pre=reading), without_head(engine.sites.head):
        engine.model(input_ids=ids)
    return stacked((seen[layer] for layer in range(engine.sites.n_layers)), engine.device)


def _rows_a_pass(engine: GradientEngine, length: int) -> int:
    """Return how many prompts of a length one pass without gradients may hold.

    The memory is that of one layer's tensors, and of the vectors of all layers.
    """
    config = engine.model.config.get_text_config()
    heads, width = int(config.num_attention_heads), int(config.hidden_size)
    alive = length * (16 * width + 4 * engine.sites.n_neurons) + 4 * heads * length**2
    kept = engine.sites.n_layers * (engine.sites.n_neurons + 2 * length * width)
    fit = engine.memory // ((alive + kept) * engine.itemsize)
    return max(1, min(fit, _MOST_POSITIONS // length))
