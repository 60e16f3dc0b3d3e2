"""The question "Where does restoring help?": causal tracing, and whether it names the neurons' layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.inference.paired import paired_test
from qloc.analysis.localization.layer_profile import layer_shares
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table, TestResult
from qloc.analysis.tracing.restoring_effects import (
    CORRUPTIONS,
    RestoringEffects,
    profile_correlation,
)
from qloc.analysis.verdicts import judged
from qloc.analysis.wording import number
from qloc.arrays import Floats
from qloc.hypothesis_registry import Claims
from qloc.random_streams import Stream
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

_SITE: Final = Claims(
    more="restoring MLPs brings back more of the answer at the subject's last token than at other tokens",
    equal="restoring MLPs brings back about as much of the answer at the subject's last token as at others",
    less="restoring MLPs brings back less of the answer at the subject's last token than at other tokens",
)
_LAYERS: Final = Claims(
    more="tracing and knowledge neurons rank the layers alike",
    equal="how tracing ranks the layers says next to nothing of where knowledge neurons are",
    less="tracing and knowledge neurons rank the layers in opposite order",
)
_CORRELATION_MARGIN: Final = 0.1


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
    effects = RestoringEffects.of(context.study.tracing)
    tests = tuple(
        test for test in (_site_test(context, effects), _layers_test(context, effects)) if test is not None
    )
    return Question(
        id="tracing",
        title="Where does restoring help?",
        answer=_answer(context, effects),
        tests=tests,
        tables=(_totals(context), *_heatmaps(context, effects), *_layer_tables(context, effects)),
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


def _totals(context: AnalysisContext) -> Table:
    rows = []
    for corruption in CORRUPTIONS:
        odds, chance = (
            RestoringEffects.of(context.study.tracing, corruption, measure)
            for measure in ("log_odds", "probability")
        )
        traced = ~np.isnan(odds.total)
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
    n, tracing = _n_facts(context), context.study.tracing
    chance = RestoringEffects.of(tracing, "noise", "probability")
    other = RestoringEffects.of(tracing, "other_subject")
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


def _has(effects: RestoringEffects, *roles: str) -> bool:
    return "mlp" in effects.parts and set(roles) <= set(effects.roles)


def _site_test(context: AnalysisContext, effects: RestoringEffects) -> TestResult | None:
    """Compare MLPs at the subject's last token with those at other tokens, but the prompt's last."""
    others = [role for role in effects.roles if role not in ("last_subject", "last_token")]
    if not _has(effects, "last_subject") or not others:
        return None
    own = effects.at("mlp", "last_subject").mean(0)
    rest = np.stack([effects.at("mlp", role).mean(0) for role in others])
    there = ~np.isnan(rest)
    with np.errstate(invalid="ignore", divide="ignore"):
        compared = np.where(there, rest, 0.0).sum(0) / there.sum(0)
    result = paired_test(
        effects.of_facts(own - compared, _n_facts(context)),
        context.clusters,
        name="tracing, token",
        question="Does restoring MLPs bring back more of the answer at the subject's last token?",
        estimand="indirect effect of MLPs at the subject's last token, less the mean at its other tokens and "
        "those behind it, mean over layers",
        draws=context.draws,
        margin=context.plan.effect_margin,
        n_queries=int(effects.used.sum()),
        store=context.study.fingerprint,
        stream=Stream.TRACING_SITE,
    )
    return judged(replace(result, direction="more", claims=_SITE))


def _correlations(context: AnalysisContext, effects: RestoringEffects, role: str) -> tuple[Floats, Floats]:
    """Return each fact's correlation of layers with its own knowledge neurons, and with other facts'."""
    shares = layer_shares(context.known)
    traced = effects.of_facts(effects.at("mlp", role), _n_facts(context))
    relation, there = context.clusters[0], ~np.isnan(shares[:, 0])
    others = np.full_like(shares, np.nan)
    for code in np.unique(relation):
        here = np.flatnonzero((relation == code) & there)
        if len(here) > 1:
            others[here] = (shares[here].sum(0) - shares[here]) / (len(here) - 1)
    return profile_correlation(shares, traced), profile_correlation(others, traced)


def _layers_test(context: AnalysisContext, effects: RestoringEffects) -> TestResult | None:
    """Test whether layers with more knowledge neurons are those where restoring MLPs helps more."""
    if not _has(effects, "last_subject") or effects.indirect.shape[2] < 3:
        return None
    own, _ = _correlations(context, effects, "last_subject")
    result = paired_test(
        own,
        context.clusters,
        name="tracing, layers",
        question="Do tracing and knowledge neurons name the same layers?",
        estimand="Spearman's correlation over layers of a fact's share of knowledge neurons and its indirect "
        "effect of MLPs at the subject's last token",
        draws=context.draws,
        margin=_CORRELATION_MARGIN,
        margin_unit="correlation",
        n_queries=int(effects.used.sum()),
        store=context.study.fingerprint,
        stream=Stream.TRACING_LAYERS,
    )
    return judged(replace(result, direction="more", claims=_LAYERS))


def _layer_tables(context: AnalysisContext, effects: RestoringEffects) -> list[Table]:
    roles = [role for role in ("last_subject", "last_token") if _has(effects, role)]
    rows = []
    for role in roles:
        own, others = _correlations(context, effects, role)
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
