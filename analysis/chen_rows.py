"""The rows of the tables of Chen et al. 2025, one model at a time, from what a store holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from qloc.analysis.asked import mean
from qloc.analysis.consistency import consistency
from qloc.analysis.edit_consistency import UsedConsistency
from qloc.analysis.edited import edit_scores
from qloc.analysis.groups import Floats, Ints
from qloc.analysis.intervened import Measure, intervention_effects
from qloc.analysis.published import welch_of
from qloc.analysis.questions.edits import harmonic
from qloc.analysis.ratio import STATIC
from qloc.analysis.studies import Studies
from qloc.analysis.study import Study
from qloc.analysis.subsets import subset_scores
from qloc.analysis.synapse_effects import synapse_effects
from qloc.neurons import NeuronSets
from qloc.plan import AnalysisPlan

Row = dict[str, Any]
Masks = Mapping[str, NDArray[np.bool_]]

CAS_SETS: Final = (
    *("own", "union", "refined", "cas", "cas_no_penalty"),
    *("own_top", "union_top", "cas_top", "in_context"),
    *("rome", "rome_identity"),
)
SCORES: Final = ("reliability", "generalization", "locality")


@dataclass(frozen=True)
class Side:
    """One model's part of the tables.

    Attributes
    ----------
    sets : by method, of the queries that all models were asked.
    facts : int64, the common facts' rows in the study.
    """

    model: str
    study: Study
    sets: Mapping[str, NeuronSets]
    facts: Ints
    plan: AnalysisPlan

    @cached_property
    def classes(self) -> Masks:
        """Facts of the study by the consistency of their known queries: bool, (fact,) of the study."""
        cs2 = np.full(self.study.facts.sizes["fact"], np.nan)
        cs2[self.facts] = consistency(self.sets[self.plan.method])["CS2"].values
        return self.split(cs2)

    def split(self, cs2: Floats) -> Masks:
        """K_C, K_I and all, of the common facts."""
        common = np.zeros(len(cs2), dtype=bool)
        common[self.facts] = True
        cut = self.plan.consistency_threshold
        with np.errstate(invalid="ignore"):
            return {"all": common, "K_C": common & (cs2 >= cut), "K_I": common & (cs2 < cut)}

    @cached_property
    def edit_scores(self) -> xr.Dataset:
        """How well every edit of every fact did, by what ranks first."""
        return edit_scores(self.study).sel(criterion="argmax")

    @cached_property
    def edit_classes(self) -> Masks:
        """The same, by the templates that chose the edited sets."""
        return self.split(UsedConsistency(self.study).cs2)


def sides_of(studies: Study | Studies, plan: AnalysisPlan, name: str = "model") -> tuple[Side, ...]:
    """Every model with its neuron sets: of one study all queries, of several those that all were asked."""
    if isinstance(studies, Study):
        sets = {method: studies.neurons(method, plan.threshold) for method in studies.methods}
        return (Side(name, studies, sets, np.arange(studies.facts.sizes["fact"]), plan),)
    shared = [m for m in next(iter(studies)).methods if all(m in study.methods for study in studies)]
    by_method = {method: studies.neurons(method, plan.threshold) for method in shared}
    return tuple(
        Side(model, study, {method: of[model] for method, of in by_method.items()}, rows, plan)
        for (model, study), rows in zip(studies.studies.items(), studies.fact_rows, strict=True)
    )


def ratio_rows(side: Side) -> Iterator[Row]:
    """Table 1: share of K_I, mean scores of both classes, Welch's t between them."""
    for method, sets in side.sets.items():
        d = consistency(sets)
        known = sets.known()
        subsets = subset_scores(
            known.member,
            known.queries["fact"],
            sets.n_facts,
            [side.plan.k0],
            side.plan.consistency_threshold,
        )
        beside = {"kappa": mean(d["kappa"].values), "ki_k0": mean(subsets.below_cs2[:, 0])}
        for score in ("CS1", "CS2"):
            for split in (None, *STATIC):
                found = welch_of(d[score].values, score, split)[1].iloc[0]
                n = int(found.n_consistent + found.n_inconsistent)
                yield {
                    "model": side.model,
                    "method": method,
                    "score": score,
                    "threshold": "Otsu" if split is None else f"{split:g}",
                    "split": found.split,
                    "ratio": found.n_inconsistent / n if n else np.nan,
                    "mean_consistent": found.mean_consistent,
                    "mean_inconsistent": found.mean_inconsistent,
                    "t": found.t,
                    "facts": n,
                    **beside,
                }


def probability_rows(side: Side) -> Iterator[Row]:
    """ΔProb when a query's own neurons, or its neighbor's, are suppressed or enhanced."""
    by: dict[Measure, xr.DataArray] = {
        measure: intervention_effects(side.study, measure=measure) for measure in ("probability", "log_odds")
    }
    for operation in _among(by["probability"], "operation", ("suppress", "enhance")):
        for name, among in side.classes.items():
            row: Row = {"model": side.model, "operation": operation, "class": name}
            facts = 0
            for measure, values in by.items():
                for arm in _among(values, "neuron_set", ("own", "neighbor")):
                    chosen = values.sel(operation=operation, neuron_set=arm).values[among]
                    row[f"{measure}_{arm}"] = mean(chosen)
                    facts = max(facts, int(np.sum(~np.isnan(chosen))))
            yield {**row, "facts": facts}


def synapse_rows(side: Side) -> Iterator[Row]:
    """What knowledge synapses, as published and as they should be, do to N_i and to the answer."""
    activation = synapse_effects(side.study, outcome="activation")
    probability = synapse_effects(side.study, outcome="probability")
    odds = synapse_effects(side.study, outcome="log_odds")
    for operation in map(str, activation["synapse_operation"].values):
        for arm in map(str, activation["synapse_set"].values):
            at = {"synapse_operation": operation, "synapse_set": arm}
            found = [values.sel(at).values[side.facts] for values in (activation, probability, odds)]
            yield {
                "model": side.model,
                "operation": operation,
                "synapses": arm,
                **dict(zip(("activation", "probability", "log_odds"), map(mean, found), strict=True)),
                "facts": int(np.sum(~np.isnan(found[2]))),
            }


def modification_rows(side: Side) -> Iterator[Row]:
    """Erase and update × N_i and N_u × K_C and K_I."""
    yield from _edit_rows(side, ("own", "union"), side.edit_classes)


def cas_rows(side: Side) -> Iterator[Row]:
    """CAS beside the sets it is compared with."""
    yield from _edit_rows(side, CAS_SETS, {"all": side.edit_classes["all"]})


def _edit_rows(side: Side, names: tuple[str, ...], classes: Masks) -> Iterator[Row]:
    scores = side.edit_scores
    for operation in map(str, scores["edit_operation"].values):
        for name in _among(scores, "edit_set", names):
            here = scores.sel(edit_operation=operation, edit_set=name)
            for label, among in classes.items():
                facts = int(np.sum(~np.isnan(here["reliability"].values[among])))
                if not facts:
                    continue
                three = [mean(here[score].values[among]) for score in SCORES]
                row: Row = {"model": side.model, "operation": operation, "set": name, "class": label}
                row |= dict(zip(SCORES, three, strict=True))
                row |= {"average": float(np.mean(three)), "harmonic": harmonic(three)}
                yield row | _damage(side, here["nats"].values, among) | {"facts": facts}


def _damage(side: Side, nats: Floats, among: NDArray[np.bool_]) -> Row:
    """Δ perplexity of the mean Δ nats a token: the mean of single ones is that of the few worst."""
    there = among & ~np.isnan(nats)
    before = mean(side.study.edits["base_text_nats"].values[there])
    change = mean(nats[there])
    return {"perplexity": float(np.exp(before) * np.expm1(change)), "nats": change}


def _among(values: xr.DataArray | xr.Dataset, dim: str, wanted: tuple[str, ...]) -> list[str]:
    have = [str(name) for name in values[dim].values]
    return [name for name in wanted if name in have]
