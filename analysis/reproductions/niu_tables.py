"""The tables of Niu et al. 2024 (the Knowledge Neuron Thesis) in the paper's layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from qloc.analysis.editing.entailment_outcomes import ENTAILED_SCORES, EntailmentOutcomes
from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.share_intervals import share_interval
from qloc.analysis.interventions.categorical_flips import Decision, Flips, Kind
from qloc.analysis.interventions.probe_word_effects import GOOD, word_effects
from qloc.analysis.localization.refined_neurons import LOOPS, WANTED_MEAN, refined_neurons
from qloc.analysis.questions.tracing import TOKENS
from qloc.analysis.reproductions.published_tables import PublishedTable, Row, Side
from qloc.analysis.tracing.greatest_effects import greatest_effects
from qloc.analysis.tracing.restoring_effects import RestoringEffects
from qloc.analysis.tracing.restoring_tests import clusters_of
from qloc.phase_plan import ROME_SETS

_EDITED: Final = (*ROME_SETS, "refined", "own", "in_context")


_FLIPS: Final[tuple[tuple[Decision, Kind, str], ...]] = (
    ("first", "fact", "no longer ranks first"),
    ("first", "minimal_pair", "no longer ranks first"),
    ("preferred", "minimal_pair", "no longer likelier than the bad form"),
)


def _flip_rows(side: Side) -> Iterator[Row]:
    """Yield how often suppression turns decisions round, and the largest share of a relation."""
    relation = side.study.column("queries", "relation").astype(str)
    for decision, kind, words in _FLIPS:
        flips = Flips.of(side.study, decision, kind)
        for name in ("own", "refined", "matched"):
            if not flips.changed.has("suppress", name):
                continue
            turned = np.where(side.is_asked, flips.flipped("suppress", name), np.nan)
            there = ~np.isnan(turned)
            if not there.any():
                continue
            shares = flips.changed.rows.mean(turned)
            interval = share_interval(shares, flips.changed.rows.clusters)
            yield {
                "model": side.model,
                "change": "categorical flips",
                "kind": kind,
                "decision": words,
                "set": name,
                "share": float(turned[there].mean()),
                "low": interval.low if interval else np.nan,
                "high": interval.high if interval else np.nan,
                "largest": max(float(turned[there & (relation == of)].mean()) for of in {*relation[there]}),
                "queries": int(there.sum()),
            }


def _refined_rows(side: Side) -> Iterator[Row]:
    """Yield what each loop leaves of the sets of known queries."""
    sets = side.sets[side.plan.method].known()
    there = np.bincount(sets.queries["fact"][sets.sizes() > 0], minlength=sets.n_facts) > 0
    members = {loop: refined_neurons(sets, loop=loop) for loop in LOOPS}
    for loop, refined in members.items():
        n, other = refined.member.sum(axis=1)[there], members["dai"].member
        both = refined.member.multiply(other).sum(axis=1)[there]
        either = n + other.sum(axis=1)[there] - both
        alike = np.divide(both, either, out=np.full(len(n), np.nan), where=either > 0)
        yield {
            "model": side.model,
            "loop": loop,
            "neurons": float(n.mean()) if len(n) else np.nan,
            "within": float(np.mean((n >= WANTED_MEAN[0]) & (n <= WANTED_MEAN[1]))) if len(n) else np.nan,
            "empty": int(np.sum(n == 0)),
            "share": float(np.mean([*refined.share.values()])),
            "converged": float(np.mean([*refined.converged.values()])),
            "jaccard": mean(alike),
            "facts": int(there.sum()),
        }


def _tracing_rows(side: Side) -> Iterator[Row]:
    """Yield where restoring brings back the most, of facts and of syntax."""
    kind = side.study.column("queries", "kind").astype(str)
    every, clusters = (
        RestoringEffects.of(side.study.tracing),
        clusters_of(side.study.neurons(side.plan.method)),
    )
    for name, words in (("fact", "facts"), ("minimal_pair", "syntax")):
        effects = every.only(side.is_asked & (kind == name))
        for row in greatest_effects(effects, clusters, confidence=side.plan.confidence):
            yield {"model": side.model, "kind": words, **row, "role": TOKENS[str(row["role"])]}


def _word_rows(side: Side) -> Iterator[Row]:
    """Yield what suppression takes from words beyond matched neurons, by paradigm and feature."""
    plan = side.plan
    draws = Draws(n_permutations=plan.n_permutations, confidence=plan.confidence, seed=plan.seed)
    frame = word_effects(side.study, draws)
    for row in [] if frame is None else frame.to_dict("records"):
        if row["feature"] or row["word"] == GOOD:
            yield {"model": side.model, **{str(name): value for name, value in row.items()}}


def _symmetry_rows(side: Side) -> Iterator[Row]:
    """Yield how often edits turn inverses round, where the model knew them and among all."""
    yield from _entailed_rows(side, ("gained", "lost", "symmetry"))


def _synonymy_rows(side: Side) -> Iterator[Row]:
    """Yield how often edits carry over to synonyms, of pairs with a shared stem and without."""
    yield from _entailed_rows(side, ("synonymy", "synonymy_of_stem"))


def _entailed_rows(side: Side, names: tuple[str, ...]) -> Iterator[Row]:
    known, every = (EntailmentOutcomes.of(side.study, known) for known in (True, False))
    common = side.facts
    for name in [name for name in _EDITED if known.edited.has("update", name)]:
        success = every.edited.success("update", name, "argmax")
        row: Row = {
            "model": side.model,
            "set": name,
            "forward": mean(every.edited.mean(success, "edited")[common]),
        }
        scores = [score for score in ENTAILED_SCORES if score in names]
        for score in scores:
            row[score] = mean(every.score(score, "update", name, "argmax", conditional=False)[common])
            row[f"{score}_known"] = mean(known.score(score, "update", name, "argmax")[common])
        counts = every.score(scores[0], "update", name, "argmax", conditional=False)[common]
        yield {**row, "facts": int(np.sum(~np.isnan(counts)))}


_FORWARD: Final = {"forward": "o′ ranks first at the edited query"}

LAYOUTS: Final = (
    PublishedTable(
        name="niu_refined",
        title="Refined neurons by the published loops, and by the one used here",
        group="signals",
        phase="signals",
        rows=_refined_rows,
        shown=("neurons",),
        labels={
            "loop": "p is chosen",
            "neurons": "neurons a fact",
            "within": "facts with 2 to 5",
            "empty": "facts without any",
            "share": "p reached, mean",
            "converged": "share that settled",
            "jaccard": "Jaccard with Dai's",
        },
        note="niu: for each fact by itself; dai: for a relation, in six rounds; settled: for a relation, "
        "until p settles, in three sets at least. All cut the same counts: at equal budgets they are the "
        "same sets.",
    ),
    PublishedTable(
        name="niu_tracing",
        title="Where restoring brings back the most, in facts and in syntax",
        group="tracing",
        phase="tracing",
        rows=_tracing_rows,
        shown=("layer", "indirect"),
        labels={
            "role": "token",
            "layer": "layer of the greatest effect",
            "indirect": "indirect effect there, log-odds",
            "normalized": "indirect / total effect",
            "total": "total effect, log-odds",
        },
        note="Under noise; of pairs, log P(good) − log P(bad), their cue corrupted. The layer is the "
        "greatest of all: its effect is overstated.",
    ),
    PublishedTable(
        name="niu_suppression",
        title="Decisions that are turned round when neurons are suppressed",
        group="interventions",
        phase="interventions",
        rows=_flip_rows,
        shown=("largest",),
        labels={"share": "share flipped", "largest": "largest share of a relation or paradigm"},
        note="Of queries whose answer ranked first, or pairs whose good form was likelier. The share is over "
        "queries, its interval over facts or groups, cluster-robust. Matched: as many neurons of their "
        "layers and strength.",
    ),
    PublishedTable(
        name="niu_words",
        title="Words when neurons are suppressed",
        group="interventions",
        phase="interventions with --probes",
        rows=_word_rows,
        shown=("own", "matched"),
        labels={
            "own": "Δ log-odds under N_i",
            "matched": "under matched neurons",
            "difference": "difference",
            "units": "pairs",
        },
        note="By paradigm and feature. p: signs flipped, two-sided, Holm over the table.",
    ),
    PublishedTable(
        name="niu_symmetry",
        title="Bijective symmetry of edits",
        group="entailments",
        phase="edits with facts that have inverses",
        rows=_symmetry_rows,
        shown=("forward", "gained", "lost"),
        labels={
            **_FORWARD,
            "gained": "new inverse gained",
            "lost": "old inverse lost",
            "symmetry": "both",
            "gained_known": "gained, where the unedited model knows the inverse",
            "lost_known": "lost, the same",
            "symmetry_known": "both, the same",
        },
        note="By what ranks first. The paper does not ask the unedited model, edits one of both facts alone, "
        "and counts the right tokens of an answer; here both are swapped, and an answer is right as a whole.",
    ),
    PublishedTable(
        name="niu_synonymy",
        title="Synonymous invariance of edits",
        group="entailments",
        phase="edits with facts that have synonyms",
        rows=_synonymy_rows,
        shown=("forward", "synonymy"),
        labels={
            **_FORWARD,
            "synonymy": "synonym of o′, no shared stem",
            "synonymy_of_stem": "the same, shared stem",
            "synonymy_known": "no shared stem, where the unedited model knows the synonym of o",
            "synonymy_of_stem_known": "shared stem, the same",
        },
        note="By what ranks first.",
    ),
)
"""The tables, in the paper's order."""
