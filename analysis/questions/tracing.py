"""The question "Where does restoring help?": causal tracing, and whether it names the neurons' layers."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.localization.layer_profile import layer_shares
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.tracing.greatest_effects import greatest_effects
from qloc.analysis.tracing.restoring_effects import CORRUPTIONS, Corruption, Measure, RestoringEffects
from qloc.analysis.tracing.restoring_tests import (
    correlations,
    headline_effects,
    layers_test,
    of_headline,
    site_test,
)
from qloc.analysis.wording import number
from qloc.references import cited

TOKENS: Final = {
    "first_subject": "the subject's first",
    "middle_subject": "the subject's middle",
    "last_subject": "the subject's last",
    "next_token": "the next",
    "further_tokens": "further",
    "last_token": "the last",
}
"""Roles of tokens, in words."""


def tracing_question(context: AnalysisContext) -> Question:
    """Report indirect effects by part, token and layer, and compare their layers with knowledge neurons'.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan; its store has phase ``tracing``.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    effects = headline_effects(context.study)
    tests = (
        site_test(
            effects,
            context.clusters,
            context.draws,
            margin=context.plan.effect_margin,
            store=context.study.fingerprint,
        ),
        layers_test(
            effects,
            layer_shares(context.known),
            context.clusters,
            context.draws,
            store=context.study.fingerprint,
        ),
    )
    return Question(
        id="tracing",
        title="Where does restoring help?",
        answer=_answer(context, effects),
        tests=tests,
        tables=(
            _totals(context),
            *_heatmaps(context, effects),
            *_layer_tables(context, effects),
            *_kinds(context),
        ),
        method=(
            "The subject's embeddings are corrupted, by noise of three of their standard deviations and by "
            "another subject of as many tokens, and one state of the clean pass is restored at a time. Total "
            "effect: clean less corrupted; indirect effect: restored less corrupted; in log-odds, log P − "
            "log(1 − P), averaged over samples, a fact's known queries, then facts. Queries that corrupting "
            "does not hurt are left out and counted. Layers: Spearman's correlation, fact by fact, of the "
            "share of knowledge neurons in each layer with the indirect effect of MLPs at the subject's "
            "last token."
        ),
        references=(*cited("meng2022", where="§2"), *cited("niu2024")),
    )


def _n_facts(context: AnalysisContext) -> int:
    return int(context.sets.n_facts)


def _effects(context: AnalysisContext, corruption: Corruption, measure: Measure) -> RestoringEffects:
    """Return the effects of the kind that headlines are of."""
    effects = RestoringEffects.of(context.study.tracing, corruption, measure)
    return effects.only(of_headline(context.study.column("queries", "kind")))


def _totals(context: AnalysisContext) -> Table:
    rows = []
    for corruption in CORRUPTIONS:
        odds, chance = (_effects(context, corruption, measure) for measure in ("log_odds", "probability"))
        traced = ~np.isnan(odds.total) & of_headline(context.study.column("queries", "kind"))
        values = np.stack([part.of_facts(part.total, _n_facts(context)) for part in (odds, chance)], axis=1)
        low, high = context.intervals(values)
        rows.append(
            {
                "corruption": corruption.replace("_", " "),
                "total": mean(values[:, 0]),
                "total_low": low[0],
                "total_high": high[0],
                "probability": mean(values[:, 1]),
                "facts": int((~np.isnan(values[:, 0])).sum()),
                "queries": int(odds.used.sum()),
                "unhurt": int((traced & ~odds.used).sum()),
            }
        )
    return Table.from_frame(
        pd.DataFrame(rows),
        name="tracing_totals",
        title="What corrupting the subject does to the answer",
        labels={
            "total": "total effect, log-odds",
            "probability": "total effect, probability",
            "unhurt": "queries left out: no total effect",
        },
    )


def _heatmaps(context: AnalysisContext, noise: RestoringEffects) -> list[Table]:
    """Return one table for each part: token × layer, under noise, with another subject's beside."""
    n, chance = _n_facts(context), _effects(context, "noise", "probability")
    other = _effects(context, "other_subject", "log_odds")
    odds, probability = noise.of_facts(noise.indirect, n), chance.of_facts(chance.indirect, n)
    swapped, total = other.of_facts(other.indirect, n), noise.of_facts(noise.total, n)
    tables = []
    for place, part in enumerate(noise.parts):
        frames = []
        for role, name in enumerate(noise.roles):
            values = odds[:, place, role]
            if np.isnan(values).all():
                continue
            low, high = context.intervals(values)
            whole = np.where(np.isnan(values), np.nan, total[:, None])
            frames.append(
                pd.DataFrame(
                    {
                        "token": TOKENS[name],
                        "layer": np.arange(values.shape[1]),
                        "indirect": [mean(column) for column in values.T],
                        "indirect_low": low,
                        "indirect_high": high,
                        "normalized": [mean(a) / mean(b) for a, b in zip(values.T, whole.T, strict=True)],
                        "probability": [mean(column) for column in probability[:, place, role].T],
                        "other_subject": [mean(column) for column in swapped[:, place, role].T],
                        "facts": (~np.isnan(values)).sum(0),
                    }
                )
            )
        if frames:
            tables.append(
                Table.from_frame(
                    pd.concat(frames, ignore_index=True),
                    name=f"tracing_{part}",
                    title=f"What restoring {_PARTS[part]} brings back",
                    labels={
                        "indirect": "indirect effect, log-odds",
                        "normalized": "indirect / total effect",
                        "probability": "indirect effect, probability",
                        "other_subject": "indirect effect, log-odds, another subject",
                    },
                    note="Under noise; means over facts, intervals cluster-robust by relation and answer.",
                )
            )
    return tables


_PARTS: Final = {
    "residual": "the output of blocks",
    "mlp": "the output of MLPs",
    "attention": "the output of attention",
}


def _layer_tables(context: AnalysisContext, effects: RestoringEffects) -> list[Table]:
    roles = [role for role in ("last_subject", "last_token") if effects.has("mlp", role)]
    shares, relation = layer_shares(context.known), context.clusters[0]
    rows = []
    for role in roles:
        own, others = correlations(effects, shares, relation, role)
        values = np.stack([own, others, own - others], axis=1)
        if np.isnan(values[:, 0]).all():
            continue
        low, high = context.intervals(values)
        row: dict[str, object] = {"token": TOKENS[role], "facts": int((~np.isnan(own)).sum())}
        for place, name in enumerate(("own", "other_facts", "beyond")):
            row |= {name: mean(values[:, place]), f"{name}_low": low[place], f"{name}_high": high[place]}
        rows.append(row)
    if not rows:
        return []
    return [
        Table.from_frame(
            pd.DataFrame(rows),
            name="tracing_layers",
            title="Layers of tracing and of knowledge neurons",
            labels={
                "own": "correlation with the fact's own knowledge neurons",
                "other_facts": "with those of the relation's other facts",
                "beyond": "own − other facts",
            },
            note="Spearman's correlation over layers, fact by fact, of the share of knowledge neurons with "
            "the indirect effect of MLPs; above 0 in other facts too where both follow depth alone.",
        )
    ]


def _kinds(context: AnalysisContext) -> list[Table]:
    """Return facts and minimal pairs side by side, where both were traced."""
    kind = context.study.column("queries", "kind").astype(str)
    every = RestoringEffects.of(context.study.tracing)
    of_kind = {name: every.only(kind == label) for label, name in _KINDS.items()}
    if not all(effects.used.any() for effects in of_kind.values()):
        return []
    rows = [
        {"kind": name, **row, "token": TOKENS[str(row["role"])]}
        for name, effects in of_kind.items()
        for row in greatest_effects(effects, context.clusters, confidence=context.plan.confidence)
    ]
    return [
        Table.from_frame(
            pd.DataFrame(rows).drop(columns="role"),
            name="tracing_kinds",
            title="Where restoring helps most, in facts and in syntax",
            labels={
                "layer": "layer of the greatest effect",
                "indirect": "indirect effect there, log-odds",
                "normalized": "indirect / total effect",
                "total": "total effect, log-odds",
                "facts": "facts, or groups of pairs",
            },
            note="Under noise. Of a pair, log-odds are log P(good) − log P(bad), and its subject is its cue. "
            "The layer is the greatest of all: its effect is overstated, the more so with few facts.",
        )
    ]


_KINDS: Final = {"fact": "facts", "minimal_pair": "syntax"}


def _answer(context: AnalysisContext, effects: RestoringEffects) -> str:
    values = effects.of_facts(effects.indirect, _n_facts(context))
    flat = values.reshape(len(values), -1)
    counts = (~np.isnan(flat)).sum(0)
    if not counts.any():
        return "No query was traced whose answer corrupting the subject takes away."
    sums = np.nansum(flat, 0)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf)
    names = (effects.parts, effects.roles, range(effects.indirect.shape[2]))
    sentences = []
    for place, part in enumerate(names[0]):
        here = means.reshape(values.shape[1:])[place]
        role, layer = np.unravel_index(int(np.argmax(here)), here.shape)
        total = mean(effects.of_facts(effects.total, _n_facts(context)))
        sentences.append(
            f"Restoring {_PARTS[str(part)]} brings back most at {TOKENS[effects.roles[int(role)]]} token in "
            f"layer {int(layer)}: {number(float(here[role, layer]))} of {number(total)} nats of log-odds."
        )
    return " ".join(sentences)
