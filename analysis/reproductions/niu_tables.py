"""The tables of Niu et al. 2024 (the Knowledge Neuron Thesis) in the paper's layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from qloc.analysis.editing.entailment_outcomes import ENTAILED_SCORES, EntailmentOutcomes
from qloc.analysis.inference.means import mean
from qloc.analysis.inputs.query_rows import rows_of
from qloc.analysis.interventions.neuron_effects import values_of
from qloc.analysis.reproductions.published_tables import PublishedTable, Row, Side
from qloc.phase_plan import ROME_SETS

_EDITED: Final = (*ROME_SETS, "refined", "own", "in_context")


def _flip_rows(side: Side) -> Iterator[Row]:
    """Yield how often an answer that ranked first no longer does when neurons are suppressed, by relation."""
    group, rows = side.study.interventions, rows_of(side.study)
    operations = [str(name) for name in group["operation"].values]
    sets = [str(name) for name in group["neuron_set"].values]
    if "suppress" not in operations:
        return
    kind = side.study.column("queries", "kind").astype(str)
    relation = side.study.column("queries", "relation").astype(str)
    first = (values_of(group, "base_rank") == 1) & (rows.used | (kind == "minimal_pair"))
    for name in [name for name in ("own", "refined", "matched") if name in sets]:
        at = operations.index("suppress"), sets.index(name)
        changed = first & (values_of(group, "n_neurons")[sets.index(name)] > 0)
        flipped = values_of(group, "rank")[at] > 1
        shares = {
            kind_: {
                r: float(flipped[here].mean())
                for r in np.unique(relation)
                if (here := changed & (kind == kind_) & (relation == r)).any()
            }
            for kind_ in np.unique(kind)
        }
        for kind_, of_relation in shares.items():
            here = changed & (kind == kind_)
            if here.any():
                yield {
                    "model": side.model,
                    "change": "categorical flips",
                    "kind": str(kind_),
                    "set": name,
                    "share": float(flipped[here].mean()),
                    "largest": max(of_relation.values()),
                    "queries": int(here.sum()),
                }


def _symmetry_rows(side: Side) -> Iterator[Row]:
    """Yield how often edits turn inverses round, where the model knew them and among all."""
    yield from _entailed_rows(side, ("gained", "lost", "symmetry"))


def _synonymy_rows(side: Side) -> Iterator[Row]:
    """Yield how often edits carry over to synonyms, of pairs with a shared stem and without."""
    yield from _entailed_rows(side, ("synonymy", "synonymy_of_stem"))


def _entailed_rows(side: Side, names: tuple[str, ...]) -> Iterator[Row]:
    known, every = (EntailmentOutcomes.of(side.study, known) for known in (True, False))
    for name in [name for name in _EDITED if known.edited.has("update", name)]:
        success = every.edited.success("update", name, "argmax")
        row: Row = {"model": side.model, "set": name, "forward": mean(every.edited.mean(success, "edited"))}
        scores = [score for score in ENTAILED_SCORES if score in names]
        for score in scores:
            row[score] = mean(every.score(score, "update", name, "argmax", conditional=False))
            row[f"{score}_known"] = mean(known.score(score, "update", name, "argmax"))
        counts = every.score(scores[0], "update", name, "argmax", conditional=False)
        yield {**row, "facts": int(np.sum(~np.isnan(counts)))}


_FORWARD: Final = {"forward": "o′ ranks first at the edited query"}

LAYOUTS: Final = (
    PublishedTable(
        name="niu_suppression",
        title="Answers that no longer rank first when neurons are suppressed",
        group="interventions",
        phase="interventions",
        rows=_flip_rows,
        shown=("largest",),
        labels={"share": "share flipped", "largest": "largest share of a relation or paradigm"},
        note="Of queries whose answer ranked first. matched: as many neurons of their layers and strength.",
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
