"""Single neurons after a query's knowledge synapses are suppressed: their activations and gradients.

See docs/methods.md#interventions. The gradient is that of the answer token's probability in the changed
pass, so that gradient × activation tells what a neuron still adds to the answer. Where an answer has several
tokens, each has a pass with synapses of its own, and values are means over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qloc.arrays import Array, Floats, Ints
from qloc.extract.interventions import synapse_sets
from qloc.extract.interventions.knowledge_synapses import COLUMN_SHARE, column_change, column_masses
from qloc.extract.models.hooks import hooked, in_turn, without_head
from qloc.extract.models.out_of_memory import in_halves
from qloc.extract.passes.attention import attending
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.minimal_pairs import Attributed
from qloc.extract.prompts.tokenizing import Target
from qloc.vocabulary import NO_INDEX

_SHARE: Final = COLUMN_SHARE["suppress"]


@dataclass(frozen=True, kw_only=True)
class SynapseViews:
    """Everything that is needed to look at the neurons of one unit; :meth:`arrays` does it.

    Attributes
    ----------
    passes : sequence of Attributed
        The passes whose activations are kept, of the queries that are looked at.
    last : mapping of int to Target
        Query → the pass of its answer's last token, which ``/attention`` is of.
    neurons : int64 ndarray, shape (query, view)
        Numbers of the neurons of each query, -1 behind the last.
    texts : callable
        From ids of tokens, int32 (token,), to their texts.
    n_tokens : int
        Length of the axis ``token`` of the store.
    alpha : float
        α of the synapse sets.
    engine : RowEngine
        The model.
    """

    passes: Sequence[Attributed]
    last: dict[int, Target]
    neurons: Ints
    texts: Callable[[NDArray[np.int32]], Array]
    n_tokens: int
    alpha: float
    engine: RowEngine

    def arrays(self) -> dict[str, Array]:
        """Run the changed passes.

        Returns
        -------
        dict of str to ndarray
            Every array of group ``synapse_views``, queries in order.
        """
        targets = [one.target for one in self.passes]
        chosen = self._chosen([*targets, *self.last.values()])
        shape = (len(self.neurons), self.engine.sites.n_layers, self._n_heads, self.n_tokens)
        synapse = np.full(shape, NO_INDEX, dtype=np.int8)
        text = np.full((shape[0], self.n_tokens), "", dtype=object)
        for (query, target), mask in zip(self.last.items(), chosen[len(targets) :], strict=True):
            synapse[query, :, :, : mask.shape[-1]] = mask
            text[query, : len(target.ids)] = self.texts(np.array(target.ids, dtype=np.int32))
        sums = {name: np.zeros(self.neurons.shape) for name in ("activation", "gradient")}
        for rows in self._plan(targets):
            for done, (activation, gradient) in in_halves(
                "synapse views", rows, lambda some: self._run([(targets[n], chosen[n]) for n in some])
            ):
                for row, n in enumerate(done):
                    one, at = self.passes[n], np.maximum(self.neurons[self.passes[n].query], 0)
                    sums["activation"][one.query] += one.share * activation[row, at]
                    sums["gradient"][one.query] += one.weight * gradient[row, at]
        told = np.zeros(self.neurons.shape, dtype=bool)
        told[[*self.last]] = self.neurons[[*self.last]] >= 0
        values = {name: np.where(told, total, np.nan).astype(np.float32) for name, total in sums.items()}
        return {
            "viewed_neuron": self.neurons.astype(np.int32),
            **values,
            "synapse": synapse,
            "token_text": text,
        }

    @property
    def _n_heads(self) -> int:
        return int(self.engine.model.config.get_text_config().num_attention_heads)

    def _chosen(self, targets: Sequence[Target]) -> list[Array]:
        """Return the knowledge synapses of each pass: bool, (layer, head, token)."""
        causal = self.engine.family == "causal"
        return [
            synapse_sets.knowledge(bare, self.alpha, causal=causal)
            for _, bare in column_masses(self.engine, targets)
        ]

    def _plan(self, targets: Sequence[Target]) -> list[list[int]]:
        """Return batches of passes of equal length, as many as the bound on memory allows."""
        batches = []
        lengths = np.array([len(target.ids) for target in targets], dtype=np.int64)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length).tolist()
            size = self.engine.rows_a_batch(int(length), read=True, layers=self.engine.sites.n_layers)
            batches += [rows[start : start + size] for start in range(0, len(rows), size)]
        return batches

    def _run(self, batch: list[tuple[Target, Array]]) -> tuple[Floats, Floats]:
        """Return activations at the target and gradients of P(answer token): (row, layer · neuron) each."""
        device = next(iter(self.engine.model.parameters())).device
        ids = torch.tensor([target.ids for target, _ in batch], device=device)
        place = torch.tensor([target.position for target, _ in batch], device=device)
        token = torch.tensor([target.token for target, _ in batch], device=device)
        added, kept = list[Tensor](), list[Tensor]()
        hooks = in_turn((down, _reading(place, added, kept)) for down in self.engine.sites.downs)
        change = column_change([_SHARE * mask.astype(np.float64) for _, mask in batch], [False] * len(batch))
        with (
            torch.enable_grad(),
            attending(self.engine.model, change),
            hooked(forward_pre=hooks),
            without_head(self.engine.sites.head) as finals,
        ):
            self.engine.model(input_ids=ids)
            final = finals[0]
            hidden = final[torch.arange(len(ids), device=final.device), place.to(final.device)]
            logs = self.engine.head.logits(hidden).log_softmax(-1)
            answer = logs.gather(1, token.to(logs.device)[:, None])[:, 0]
            slopes = torch.autograd.grad(answer.sum(), added)
        # The gradient of log P, times P: that of P itself may vanish in half precision.
        share = answer.detach().exp()[:, None].double().cpu().numpy()
        activation = np.concatenate([one.double().cpu().numpy() for one in kept], axis=1)
        gradient = np.concatenate([one.double().cpu().numpy() for one in slopes], axis=1)
        return activation, share * gradient


def _reading(place: Tensor, added: list[Tensor], kept: list[Tensor]) -> Callable[..., Any]:
    """Return a hook that keeps activations at the target, and adds a zero that has a gradient to them."""

    def hook(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        inputs = args[0]
        rows = inputs.view(len(place), -1, inputs.shape[-1]).clone()
        at = torch.arange(len(place), device=rows.device), place.to(rows.device)
        kept.append(rows[at].detach())
        added.append(torch.zeros_like(kept[-1], requires_grad=True))
        rows[at] = rows[at] + added[-1]
        return (rows.view(inputs.shape), *args[1:])

    return hook
