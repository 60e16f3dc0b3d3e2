"""Baselines of AMIG and SIG: the vector of a layer when one token of the prompt is replaced.

b_i is the vector at the target position when prompt token i is replaced by the mask (masked models) or by
the end-of-sequence token (causal models). Special tokens and masks are never replaced. The variants of many
prompts run as the rows of one forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from qloc.errors import InputError, message
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.target_vectors import target_vectors
from qloc.extract.prompts.tokenizing import Family, Target, TokenizedQuery


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
    rows: list[Tensor] = [torch.empty(0)] * len(flat)
    for indices, vectors in target_vectors(engine, flat):
        for index, row in zip(indices, vectors, strict=True):
            rows[index] = row
    in_order = iter(rows)
    return [torch.stack([next(in_order) for _ in variants]) for variants in of_target]
