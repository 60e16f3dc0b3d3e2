"""The proof that rows may grow: the engine in the quickest way that equals the plain one on the loaded model.

The plain one, :mod:`qloc.extract.attribution.reference_rows`, is the oracle.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.growing_rows import Join, RowGradients, RowQueries
from qloc.extract.models.out_of_memory import raise_if_out_of_memory
from qloc.extract.models.unsupported import MODEL_FAILURES, refuse_other_calls, refuse_other_logits
from qloc.extract.passes.block_arguments import carried
from qloc.extract.prompts.tokenizing import Family, Target

log = logging.getLogger(__name__)

_TOLERANCE: Final = {torch.float64: 1e-5, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
"""Largest difference from the oracle, relative to its largest value. float64: transformers' RMSNorm computes
in float32 even then. Half precision: rounding of a single activation is 4e-3 already."""

_OF_PROBABILITY: Final = {torch.bfloat16: 0.3}
"""The same of probabilities: bfloat16 rounds a logit between 16 and 32 to an eighth, which makes 13% of P,
and the logits that P is divided by likewise."""

_WAYS: Final[Mapping[Family, Sequence[tuple[Join, bool]]]] = {
    "causal": (("after", False), ("before", False)),
    "masked": (("after", True), ("token", True), ("after", False), ("before", False)),
}
"""How rows may join, and whether the last block is cut; the quickest first."""


def proved(engine: GradientEngine, targets: Sequence[Target]) -> GradientEngine:
    """Return the engine in the quickest way that equals the oracle on this model.

    The proof runs on two targets side by side, and on the longest target in every layer (layers may differ,
    and attention windows are shorter than long prompts). In a masked model the last block is cut to the
    target if that holds. Rows join after their block; else, where the last block is cut, as one token of
    it; else before it; else, with a warning, the engine falls back to the oracle itself.

    Parameters
    ----------
    engine : GradientEngine
        The engine to prove, in any way.
    targets : sequence of Target
        Some of the targets that it will run.

    Returns
    -------
    GradientEngine
        The same engine, with ``kind``, ``cut`` and ``carried`` set.

    Raises
    ------
    InputError
        When even the oracle does not hold for the model: its down-projections are not called once a pass,
        or its logits are not those of the output embedding.
    """
    allowed = _TOLERANCE.get(next(iter(engine.model.parameters())).dtype, 1e-3)
    refuse_other_calls(engine.model, engine.sites.downs, targets[0].ids)
    refuse_other_logits(engine.model, engine.head, targets[0].ids, allowed)
    trials = _trials(engine, targets)
    ends = [pick(targets, key=lambda target: len(target.ids)) for pick in (min, max)]
    try:
        engine = replace(engine, carried=carried(engine.model, engine.sites, engine.family, ends))
    except MODEL_FAILURES as error:
        raise_if_out_of_memory(error)
        log.info("blocks cannot be looked into on this model: %s", error)
    for kind, cut in _WAYS[engine.family]:
        trial = replace(engine, kind=kind, cut=cut)
        if _holds(trial, trials, allowed):
            return trial
    log.warning(
        "growing rows do not hold on %s: every row runs the whole model, which takes about ten times longer",
        engine.model.config.model_type,
    )
    return replace(engine, kind="full", cut=False)


_Trial = tuple[list[Target], RowQueries, RowGradients]
"""Targets of one length, their rows, and what the oracle gives."""


def _trials(engine: GradientEngine, targets: Sequence[Target]) -> list[_Trial]:
    first, n_layers = targets[0], engine.sites.n_layers
    second = next((t for t in targets[1:] if len(t.ids) == len(first.ids)), first)
    longest = max(targets, key=lambda target: len(target.ids))
    spread = sorted({0, n_layers // 2, n_layers - 1})
    trials: list[_Trial] = []
    for chosen, layers in (([first, second], spread), ([longest], range(n_layers))):
        rows = dict.fromkeys(layers, torch.arange(len(chosen)).repeat(2))
        trials.append((chosen, rows, replace(engine, kind="full").rows(chosen, _quarters, rows)))
    return trials


def _holds(engine: GradientEngine, trials: Sequence[_Trial], allowed: float) -> bool:
    try:
        worst = max(_worst(engine, *trial, allowed) for trial in trials)
    except MODEL_FAILURES as error:
        raise_if_out_of_memory(error)
        log.info("rows that join in the way '%s' do not run on this model: %s", engine.kind, error)
        return False
    if worst > 1:
        difference = "rows that join in the way '%s' differ from the oracle by %.1f times what is allowed"
        log.info(difference, engine.kind, worst)
    return worst <= 1


def _worst(
    engine: GradientEngine, targets: list[Target], rows: RowQueries, oracle: RowGradients, allowed: float
) -> float:
    return _difference(engine, engine.grown(targets, _quarters, rows), oracle, allowed)


def _quarters(_: int, activation: Tensor) -> Tensor:
    return torch.cat([activation * 0.25, activation * 0.75])


def _difference(engine: GradientEngine, grown: RowGradients, oracle: RowGradients, allowed: float) -> float:
    """Return the largest difference, as a share of what is allowed."""
    layers = list(oracle.row_gradient)
    device = oracle.activation.device
    of_neurons = (engine.to_neurons(layer, grown.row_gradient[layer]) for layer in layers)
    ours = torch.stack([change.to(device).double() for change in of_neurons])
    theirs = torch.stack([oracle.row_gradient[layer].to(device).double() for layer in layers])
    of_p = _OF_PROBABILITY.get(next(iter(engine.model.parameters())).dtype, allowed)
    compared = [
        (grown.activation, oracle.activation, allowed),
        (grown.hidden, oracle.hidden, allowed),
        (grown.probability, oracle.probability, of_p),
        *((grown.row_probability[n], oracle.row_probability[n], of_p) for n in layers),
    ]
    worst = max(
        _relative(one.double(), other.double(), other.double().abs().max()) / most
        for one, other, most in compared
    )
    # one scale for both gradients: where P is almost 1, that at α = 1 is all rounding
    at_one, expected = grown.gradient[:, layers].double(), oracle.gradient[:, layers].double()
    scale = torch.maximum(theirs.abs().max(), expected.abs().max())
    gradients = max(_relative(ours, theirs, scale), _relative(at_one, expected, scale))
    return max(worst, gradients / allowed)


def _relative(ours: Tensor, theirs: Tensor, scale: Tensor) -> float:
    """Return the largest difference, relative to ``scale``; infinite where it is not a number."""
    least = torch.finfo(torch.float32).tiny
    return float(((ours - theirs).abs().max() / scale.clamp_min(least)).nan_to_num(torch.inf))
