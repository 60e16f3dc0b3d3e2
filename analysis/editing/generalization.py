"""H10d: whether the consistency of a fact's neurons predicts how far an edit carries to paraphrases."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from qloc.analysis.editing.edit_tests import UPDATE, edits_of
from qloc.analysis.editing.outcomes import EditOutcomes
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.paired import log_odds
from qloc.analysis.inference.slope_test import SLOPE_MARGIN, slope_test
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.results import TestResult
from qloc.arrays import Floats
from qloc.hypothesis_registry import REGISTRY
from qloc.vocabulary import DEFAULT_THRESHOLD


class UsedConsistency:
    """Consistency of each fact over the queries whose templates chose the edited sets.

    It is computed when first asked for.

    Parameters
    ----------
    study : Study
        With phase ``edits``.
    known : bool, default True
        Whether to count known queries only.
    """

    def __init__(self, study: Study, known: bool = True) -> None:
        self._study, self._known = study, known

    @cached_property
    def _scores(self) -> tuple[Floats, Floats]:
        study, edits = self._study, self._study.edits
        sets = study.neurons(
            method=str(edits.attrs.get("method", study.methods[0])),
            threshold=float(edits.attrs.get("threshold", DEFAULT_THRESHOLD)),
        )
        held = edits["held_out"].values
        fact = sets.queries["fact"].astype(np.int64)
        place = np.arange(len(fact)) - study.column("facts", "first_query").astype(np.int64)[fact]
        scores = consistency(sets.select(held[fact, place] == 0), known=self._known)
        return scores["kappa"].values.astype(np.float64), scores["CS2"].values.astype(np.float64)

    @property
    def kappa(self) -> Floats:
        """κ over used templates: float64, (fact,)."""
        return self._scores[0]

    @property
    def cs2(self) -> Floats:
        """CS2 over used templates: float64, (fact,)."""
        return self._scores[1]


def predicts_generalization(
    study: Study,
    *,
    known: bool = True,
    margin: float = SLOPE_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether updates of facts with a higher κ carry further to paraphrases (H10d).

    Estimate: slope, over facts within relations, of the log-odds that o′ gains at held-out paraphrases under
    an update of N_i, on κ over the templates that were used; log number of neurons edited, and log-odds of o
    and o′ there before, as covariates. One-sided; clustered by relation.

    Parameters
    ----------
    study : Study
        With phase ``edits``.
    known : bool, default True
        Whether to count known queries only.
    margin : float, default 0.1
        Standardized slope that counts as none; fix it before looking.
    draws : Draws
        Number of resamples, confidence, α and seed.

    Returns
    -------
    TestResult
        "Not identified" with fewer than three relations.

    Raises
    ------
    InputError
        The store has no phase ``edits``, or not these edits.
    """
    edited = edits_of(study, known, UPDATE, "own")
    kappa = UsedConsistency(study, known).kappa
    return generalization_test(edited, kappa, draws, margin=margin, store=study.fingerprint)


def generalization_test(
    edited: EditOutcomes, kappa: Floats, draws: Draws, *, margin: float = SLOPE_MARGIN, store: str = ""
) -> TestResult:
    """Run H10d on outcomes that are already loaded.

    Parameters
    ----------
    edited : EditOutcomes
        With updates of the set ``own``.
    kappa : float64 ndarray, shape (fact,)
        κ over used templates.
    draws : Draws
        Number of resamples, confidence, α and seed.
    margin : float, default 0.1
        Standardized slope that counts as none.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`predicts_generalization`.
    """
    n = edited.found["n_slots"].values[edited.sets.index("own")]
    before = {
        name: edited.mean(log_odds(edited.found[f"base_{variable}"].values), "held_out")
        for name, variable in (
            ("log-odds of o", "log_probability"),
            ("log-odds of o′", "new_log_probability"),
        )
    }
    return slope_test(
        edited.moved(UPDATE, "own", "held_out"),
        {"κ": kappa, "log neurons edited": np.log1p(np.maximum(n, 0)), **before},
        edited.rows.clusters,
        name=REGISTRY["H10d"].name,
        question=REGISTRY["H10d"].question,
        estimand="slope on κ over used templates, within relations, of the log-odds that o′ gains at "
        "held-out paraphrases under an update of N_i",
        draws=draws,
        direction="above",
        margin=margin,
        store=store,
    )
