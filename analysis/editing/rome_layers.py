"""H12c: whether ROME's edits generalize further at the layer that causal tracing names than at their own.

See docs/statistics.md#h12-where-does-restoring-help.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from qloc.analysis.editing.edit_tests import UPDATE, edits_of
from qloc.analysis.editing.outcomes import EditOutcomes
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, paired_test
from qloc.analysis.inputs.study import Study
from qloc.analysis.results import TestResult
from qloc.arrays import Floats
from qloc.hypothesis_registry import hypothesis_of
from qloc.phase_plan import ROME_TRACED
from qloc.random_streams import Stream
from qloc.text.rounding import number

ROME: Final = "rome"


def rome_at_traced_layer(
    study: Study,
    *,
    known: bool = True,
    margin: float = LOG_ODDS_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether ROME's edits generalize further at the layer that tracing names (H12c).

    Both edits are of rank one and of the same facts, with the same prefixes, steps and clamp: only the layer
    differs. Estimate: mean over facts of the log-odds that o′ gains at held-out paraphrases at tracing's
    layer, less at ROME's own (``edits: {rome: {layer: …}}``). One-sided; signs of whole relations are
    flipped.

    Parameters
    ----------
    study : Study
        With phase ``edits``, and ``rome_traced`` among its sets.
    known : bool, default True
        Whether to count known queries only.
    margin : float, default 0.1
        Difference in log-odds that counts as none; fix it before looking.
    draws : Draws
        Number of flips, confidence, α and seed.

    Returns
    -------
    TestResult
        "Not identified" where no fact has both edits, or tracing names ROME's own layer.

    Raises
    ------
    InputError
        The store has no phase ``edits``, or not these edits.

    References
    ----------
    Meng et al. 2022 (arXiv 2202.05262), §3, who choose the layer by tracing; Hase et al. 2023
    (arXiv 2301.04213), who find that other layers can be edited as well.
    """
    edited = edits_of(study, known, UPDATE, ROME_TRACED, ROME)
    return layers_compared(edited, draws, margin=margin, store=study.fingerprint)


def layers_compared(
    edited: EditOutcomes, draws: Draws, *, margin: float = LOG_ODDS_MARGIN, store: str = ""
) -> TestResult:
    """Run H12c on outcomes that are already loaded.

    Parameters
    ----------
    edited : EditOutcomes
        With updates of both sets.
    draws : Draws
        Number of flips, confidence, α and seed.
    margin : float, default 0.1
        Difference in log-odds that counts as none.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`rome_at_traced_layer`.
    """
    hypothesis = hypothesis_of("rome_at_traced_layer")
    traced, own = (edited.moved(UPDATE, name, "held_out") for name in (ROME_TRACED, ROME))
    difference = traced - own
    defined = difference[~np.isnan(difference)]
    alike = len(defined) > 0 and bool(np.all(defined == 0))
    return paired_test(
        np.full_like(difference, np.nan) if alike else difference,
        edited.rows.clusters,
        name=hypothesis.name,
        question=hypothesis.question,
        estimand="log-odds that o′ gains at held-out paraphrases by ROME at the layer that tracing names, "
        "less at its own",
        draws=draws,
        margin=margin,
        n_queries=0 if alike else edited.n_compared(UPDATE, (ROME_TRACED, ROME), "held_out"),
        checks=_layers(edited, traced, own, alike=alike),
        store=store,
        stream=Stream.ROME_AT_TRACED_LAYER,
    )


def _layers(edited: EditOutcomes, traced: Floats, own: Floats, *, alike: bool) -> tuple[str, ...]:
    """Say which layer tracing names, what each edit moves, and what each damages."""
    layer = edited.found.attrs.get("traced_layer", -1)
    if layer < 0:
        return ("Tracing names no layer: no query was traced whose answer corrupting takes away.",)
    said = f"Tracing names layer {layer}"
    if alike:
        return (f"{said}, which ROME edits anyway.",)
    both = ~np.isnan(traced - own)
    if not both.any():
        return (f"{said}. No fact has both edits and a held-out paraphrase that counts.",)
    moved = (number(float(values[both].mean())) for values in (traced, own))
    damage = (edited.damage(UPDATE, name)[both] for name in (ROME_TRACED, ROME))
    nats = (number(float(np.nanmean(values))) if np.isfinite(values).any() else "–" for values in damage)
    return (
        f"{said}. Log-odds that o′ gains there and at ROME's own layer, mean: {' and '.join(moved)}; "
        f"Δ nats a token: {' and '.join(nats)}.",
    )
