"""The peers as they are published, called for the same attribution: knowledge-neurons, and captum.

Imported in an environment that has them; ``peers.py`` makes it.
"""

from __future__ import annotations

from typing import Any

import torch
from captum.attr import LayerIntegratedGradients
from knowledge_neurons import KnowledgeNeurons
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from qloc.extract.models.architectures import Sites
from qloc.extract.prompts.tokenizing import Family, Target


def words(vocabulary: int, family: Family) -> PreTrainedTokenizerFast:
    """A tokenizer whose text is its ids: ``"w12 w5"`` is ``[12, 5]``; masked ones in [CLS] … [SEP]."""
    names = {0: "[PAD]", 1: "[UNK]", 2: "[CLS]", 3: "[SEP]", 4: "[MASK]"}
    ids = {names.get(number, f"w{number}"): number for number in range(vocabulary)}
    cut = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    cut.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if family == "causal":
        return PreTrainedTokenizerFast(tokenizer_object=cut, unk_token="[UNK]")
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    cut.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=cut,
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def as_words(target: Target, family: Family) -> str:
    """The text of a target's prompt for :func:`words`."""
    ids = target.ids if family == "causal" else target.ids[1:-1]
    return " ".join("[MASK]" if number == 4 else f"w{number}" for number in ids)


class Package:
    """knowledge-neurons 0.0.2 as shipped: its defaults; weights ask for gradients, as it loads them."""

    def __init__(self, model: Any, family: Family) -> None:
        self.model, self.family = model, family
        tokenizer = words(model.config.vocab_size, family)
        self.found = KnowledgeNeurons(model, tokenizer, "gpt2" if family == "causal" else "bert", "cpu")

    def attribution(self, target: Target, steps: int) -> Tensor:
        """(layer, neuron). GPT-2: of the activation function's *input*, which its patch replaces."""
        self.model.requires_grad_(True)
        try:
            scores: Tensor = self.found.get_scores(
                as_words(target, self.family), f"w{target.token}", batch_size=10, steps=steps, pbar=False
            )
            return scores
        finally:
            self.model.requires_grad_(False)


class Captum:
    """captum's LayerIntegratedGradients at each down-projection's input, at the target alone.

    ``given`` is given to the model beside the prompt: ``logits_to_keep=1`` spares it the other positions.
    """

    def __init__(self, model: Any, sites: Sites, method: str = "riemann_right", **given: Any) -> None:
        self.model, self.sites, self.method, self.given = model, sites, method, given

    def attribution(self, target: Target, steps: int) -> Tensor:
        """(layer, neuron), with so many nodes on each layer."""
        ids = torch.tensor([target.ids])
        return torch.cat([self._layer(down, ids, target, steps) for down in self.sites.downs]).detach()

    def _layer(self, down: nn.Module, ids: Tensor, target: Target, steps: int) -> Tensor:
        site = _Site()

        def through_site(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            changed = args[0].clone()
            changed[:, target.position] = site(args[0][:, target.position])
            return (changed, *args[1:])

        def probability(given: Tensor, real: Tensor) -> Tensor:
            site.real = real
            logits: Tensor = self.model(input_ids=given, **self.given).logits
            place = -1 if "logits_to_keep" in self.given else target.position
            return logits[:, place].softmax(-1)[:, target.token]

        handle = down.register_forward_pre_hook(through_site)
        try:
            # captum reads a layer's baseline off a run of the model: here of one whose site gives zero
            scores: Tensor = LayerIntegratedGradients(probability, site).attribute(
                (ids, torch.ones(1)), baselines=(ids, torch.zeros(1)), n_steps=steps, method=self.method
            )
            return scores
        finally:
            handle.remove()


class _Site(nn.Module):
    """The target's vector on its way into a down-projection; zero where the input is not real."""

    def __init__(self) -> None:
        super().__init__()
        self.real = torch.ones(1)

    def forward(self, vector: Tensor) -> Tensor:
        return vector * self.real[:, None]
