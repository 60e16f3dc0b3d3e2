"""H14: whether suppressing neurons turns decisions round, against matched controls.

A decision is right where the answer ranks first (facts), or the good form is likelier than the bad one
(minimal pairs). It flips where it is right with nothing changed and no longer right after a change. See
docs/methods.md#suppression-on-words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inference.paired import paired_test
from qloc.analysis.inputs.query_rows import rows_of
from qloc.analysis.inputs.study import Study
from qloc.analysis.interventions.neuron_effects import ArmOutcomes, require_group, values_of
from qloc.analysis.results import TestResult
from qloc.analysis.wording import under
from qloc.arrays import Array, Floats
from qloc.errors import InputError, message
from qloc.hypothesis_registry import hypothesis_of
from qloc.random_streams import Stream

Decision = Literal["first", "preferred"]
Kind = Literal["fact", "minimal_pair"]

FLIP_MARGIN: Final = 0.05
"""Difference between shares of flips that counts as none: Niu et al. report 5.2% at most, as hardly any."""

PREFERRED: Final = "bad_log_probability"
"""What stores hold where the decisions of pairs can be told after a change."""

_KINDS: Final[Mapping[Decision, Kind]] = {
    "first": "fact",
    "preferred": "minimal_pair",
}
_STREAMS: Final[Mapping[Decision, Stream]] = {
    "first": Stream.FLIPS_OF_ANSWERS,
    "preferred": Stream.FLIPS_OF_PAIRS,
}
_WORDS: Final[Mapping[Decision, str]] = {
    "first": "queries of facts whose answer ranked first and no longer does",
    "preferred": "minimal pairs whose good form was likelier than the bad one and no longer is",
}

_WITHOUT_BAD: Final = (
    "The store has no log P of bad continuations after changes: extract minimal pairs with --probes."
)


@dataclass(frozen=True)
class Flips:
    """The decisions of one kind, with nothing changed and after each arm.

    Attributes
    ----------
    changed : ArmOutcomes
        The arms, and which queries count.
    decision : {"first", "preferred"}
        That the answer ranks first; that the good form is likelier than the bad one.
    right : bool ndarray, shape (query,)
        Whether a query counts and its decision is right with nothing changed. No pair's is where the store
        has no log P of bad continuations.
    """

    changed: ArmOutcomes
    decision: Decision
    right: Array

    @classmethod
    def of(cls, study: Study, decision: Decision, kind: Kind | None = None) -> Flips:
        """Read the decisions of all facts, or of all minimal pairs; known or not, those that are right count.

        Parameters
        ----------
        study : Study
            With phase ``interventions``.
        decision : {"first", "preferred"}
            What is decided.
        kind : {"fact", "minimal_pair"}, optional
            Whose queries; by default facts' for ``first``, minimal pairs' for ``preferred``.

        Returns
        -------
        Flips
            Outcomes after arms are read when first used.

        Raises
        ------
        InputError
            The store has no phase ``interventions``.
        """
        require_group(study, "interventions")
        group = study.interventions
        changed = ArmOutcomes(group, group, rows_of(study, known=False, kind=kind or _KINDS[decision]))
        if decision == "first":
            right = values_of(group, "base_rank") == 1
        elif PREFERRED not in group:
            right = np.zeros(len(changed.rows.used), dtype=bool)
        else:
            right = values_of(group, "base_log_probability") > values_of(group, f"base_{PREFERRED}")
        return cls(changed, decision, right & changed.rows.used)

    @property
    def lacks_bad(self) -> bool:
        """Whether the decisions of pairs cannot be told: the store has no log P of bad continuations."""
        return self.decision == "preferred" and PREFERRED not in self.changed.found

    def flipped(self, operation: str, arm: str) -> Floats:
        """Return which decisions an arm turns round.

        Parameters
        ----------
        operation, arm : str
            Labels of an arm that was run.

        Returns
        -------
        float64 ndarray, shape (query,)
            0 or 1; NaN where the decision was not right before, or the set of the arm is empty. Forms that
            are equally likely are no flip.
        """
        after = self.changed.outcome(operation, arm, "log_probability")
        if not self.right.any():
            return np.full(len(after), np.nan)
        if self.decision == "first":
            wrong = self.changed.outcome(operation, arm, "rank") > 1
        else:
            wrong = after < self.changed.outcome(operation, arm, PREFERRED)
        return np.where(self.right & ~np.isnan(after), wrong.astype(np.float64), np.nan)

    def shares(self, operation: str, arm: str) -> Floats:
        """Return the share of each fact's right decisions that an arm turns round.

        Parameters
        ----------
        operation, arm : str
            Labels of an arm that was run.

        Returns
        -------
        float64 ndarray, shape (fact,)
            NaN for facts without a right decision.
        """
        return self.changed.rows.mean(self.flipped(operation, arm))

    def beyond(self, operation: str, arm: str, control: str) -> Floats:
        """Return how much larger the share is than that of a control, over the same queries.

        Parameters
        ----------
        operation, arm, control : str
            Labels of arms that were run.

        Returns
        -------
        float64 ndarray, shape (fact,)
            −1 to 1; NaN for facts without a query that has both.
        """
        return self.changed.rows.mean(self.flipped(operation, arm) - self.flipped(operation, control))


def flips_beyond_matched(
    study: Study,
    *,
    decision: Decision = "first",
    operation: str = "suppress",
    margin: float = FLIP_MARGIN,
    draws: Draws = DRAWS,
) -> TestResult:
    """Test whether suppressing N_i turns more decisions round than suppressing matched neurons (H14a, H14b).

    Estimate: mean over facts (of pairs: over groups, or single pairs) of the share of flips under N_i less
    that under as many neurons of the same layers and strength, over queries whose decision is right with
    nothing changed. One-sided; signs of whole relations or paradigms are flipped.

    Parameters
    ----------
    study : Study
        With phase ``interventions``; for ``preferred`` of minimal pairs, extracted with probes.
    decision : {"first", "preferred"}
        ``first`` (H14a): the answer of a fact ranks first; ``preferred`` (H14b): the good form of a minimal
        pair is likelier than the bad one.
    operation : str, default "suppress"
        What was done to the neurons.
    margin : float, default 0.05
        Difference between shares that counts as none; fix it before looking.
    draws : Draws
        Number of flips of signs, confidence, α and seed.

    Returns
    -------
    TestResult
        "Not identified" where fewer than two clusters have both arms, or the store has no log P of bad
        continuations.

    Raises
    ------
    InputError
        The store has no phase ``interventions``, or not these arms.

    References
    ----------
    Niu et al. 2024 (arXiv 2405.02421), who have no control.
    """
    if decision not in _WORDS:
        rule = " or ".join(_WORDS)
        raise InputError(message("decision", decision, rule, "flips_beyond_matched", "Correct it"))
    flips = Flips.of(study, decision)
    if not flips.changed.has(operation, "own", "matched"):
        rule, have = f"arms own and matched under {operation}", ", ".join(flips.changed.arms)
        raise InputError(message("arms", have, rule, "interventions", "Extract these arms"))
    return flips_test(flips, operation, draws, margin=margin, store=study.fingerprint)


def flips_test(
    flips: Flips, operation: str, draws: Draws, *, margin: float = FLIP_MARGIN, store: str = ""
) -> TestResult:
    """Run H14a or H14b on decisions that are already loaded.

    Parameters
    ----------
    flips : Flips
        With the arms ``own`` and ``matched``.
    operation : str
        What was done to the neurons.
    draws : Draws
        Number of flips of signs, confidence, α and seed.
    margin : float, default 0.05
        Difference between shares that counts as none.
    store : str, default ""
        Fingerprint of the store, for the result.

    Returns
    -------
    TestResult
        As of :func:`flips_beyond_matched`.
    """
    hypothesis = hypothesis_of("flips_beyond_matched", decision=flips.decision)
    both = ~np.isnan(flips.flipped(operation, "own") - flips.flipped(operation, "matched"))
    return paired_test(
        flips.beyond(operation, "own", "matched"),
        flips.changed.rows.clusters,
        name=hypothesis.name,
        question=hypothesis.question,
        estimand=f"share of {_WORDS[flips.decision]}, under {under(operation)} of N_i less under "
        f"{under(operation)} of as many neurons of the same layers and strength",
        draws=draws,
        margin=margin,
        margin_unit="in the share of decisions",
        n_queries=int(both.sum()),
        checks=(_WITHOUT_BAD,) if flips.lacks_bad else (),
        store=store,
        stream=_STREAMS[flips.decision],
    )
