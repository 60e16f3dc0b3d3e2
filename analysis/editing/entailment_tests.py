"""H13: tests of whether updates make what they entail likelier, inverses and synonyms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from qloc.analysis.editing.edit_tests import UPDATE, edits_of
from qloc.analysis.editing.entailment_outcomes import Entailed, EntailmentOutcomes, Moved
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.paired import LOG_ODDS_MARGIN, paired_test
from qloc.analysis.inputs.study import Study
from qloc.analysis.results import TestResult
from qloc.analysis.wording import percent
from qloc.hypothesis_registry import hypothesis_of
from qloc.random_streams import Stream

Updated = Literal["own", "rome"]

CARRIED: Final[tuple[tuple[Moved, Updated], ...]] = (
    ("inverse", "own"),
    ("inverse", "rome"),
    ("synonym", "own"),
    ("synonym", "rome"),
)
"""What is entailed and what is updated: H13a, H13b, H13c, H13d."""

_STREAMS: Final[Mapping[tuple[str, str], Stream]] = {
    ("inverse", "own"): Stream.OWN_CARRIES_TO_INVERSE,
    ("inverse", "rome"): Stream.ROME_CARRIES_TO_INVERSE,
    ("synonym", "own"): Stream.OWN_CARRIES_TO_SYNONYM,
    ("synonym", "rome"): Stream.ROME_CARRIES_TO_SYNONYM,
}
_RANKED: Final[Mapping[Moved, Entailed]] = {"inverse": "gained", "synonym": "synonymy"}
_WORDS: Final = {
    "inverse": "the subject gains at the inverse of the new object",
    "synonym": "the synonym of o′ gains, of pairs that share no stem",
    "own": "an update of N_i",
    "rome": "ROME",
}


def carries_over(
    study: Study,
    *,
    entailment: Moved = "inverse",
    edited: Updated = "rome",
    known: bool = True,
    margin: float = LOG_ODDS_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether updates raise what they entail (H13a–d).

    Estimate: mean over facts of the log-odds that the entailed answer gains, over the prompts whose old
    answer the unedited model gives. One-sided; signs of whole relations are flipped. What gains need not rank
    first: a check says how often it does.

    Parameters
    ----------
    study : Study
        With groups ``edits`` and ``entailments``.
    entailment : {"inverse", "synonym"}
        The subject, asked for by the new object (bijective symmetry), or the synonym of the new object, of
        pairs that share no stem (synonymous invariance).
    edited : {"own", "rome"}
        N_i, or ROME's edit.
    known : bool, default True
        Whether to leave out edits of queries, and prompts, that are not known.
    margin : float, default 0.1
        Log-odds that count as none; fix it before looking.
    draws : Draws
        Number of flips, confidence, α and seed.

    Returns
    -------
    TestResult
        "Not identified" where fewer than two clusters have such prompts.

    Raises
    ------
    InputError
        The store has no group ``entailments``, or not this update.

    References
    ----------
    Niu et al. 2024 (arXiv 2405.02421), §4, who do not ask the unedited model.
    """
    outcomes = EntailmentOutcomes.of(study, known)
    edits_of(study, known, UPDATE, edited)
    return carried_test(
        outcomes, entailment, edited, draws, margin=margin, store=study.fingerprint, conditional=known
    )


def carried_test(
    outcomes: EntailmentOutcomes,
    entailment: Moved,
    edited: Updated,
    draws: Draws,
    *,
    margin: float = LOG_ODDS_MARGIN,
    store: str = "",
    conditional: bool = True,
) -> TestResult:
    """Run one of H13 on outcomes that are already loaded.

    Parameters
    ----------
    outcomes : EntailmentOutcomes
        With updates of what is edited.
    entailment : {"inverse", "synonym"}
        As for :func:`carries_over`.
    edited : {"own", "rome"}
        As for :func:`carries_over`.
    draws : Draws
        Number of flips, confidence, α and seed.
    margin : float, default 0.1
        Log-odds that count as none.
    store : str, default ""
        Fingerprint of the store, for the result.
    conditional : bool, default True
        Whether prompts count only where the unedited model answers them right.

    Returns
    -------
    TestResult
        As of :func:`carries_over`.
    """
    hypothesis = hypothesis_of("carries_over", entailment=entailment, edited=edited)
    where = " that the unedited model knows" if conditional else ""
    moved = outcomes.moved(entailment, UPDATE, edited, conditional=conditional)
    first = outcomes.score(_RANKED[entailment], UPDATE, edited, "argmax", conditional=conditional)
    share = percent(mean(first[~np.isnan(moved)]))
    told = f"The verdict is on log-odds. What is entailed ranks first after the edit in {share} of prompts."
    return paired_test(
        moved,
        outcomes.edited.rows.clusters,
        name=hypothesis.name,
        question=hypothesis.question,
        estimand=f"log-odds that {_WORDS[entailment]}, by {_WORDS[edited]}, over prompts{where}",
        draws=draws,
        margin=margin,
        checks=() if np.isnan(moved).all() else (told,),
        store=store,
        stream=_STREAMS[entailment, edited],
    )
