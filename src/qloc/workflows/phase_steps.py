"""What each phase after ``signals`` does with a unit: analysis chooses its arms, and extract runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from qloc.arms import RelationSums
from qloc.errors import InputError, message
from qloc.neuron_set_files import OwnSets, neuron_set_labels, read_own_sets
from qloc.phase_plan import ROME_TRACED
from qloc.vocabulary import LAYER, NO_INDEX, RELATION

if TYPE_CHECKING:
    from qloc.analysis.inputs.study import Study
    from qloc.arrays import Array
    from qloc.block import PhaseBlock, PhaseOutline, Unit
    from qloc.extract.signals.extraction import Extraction


class PhaseRun(Protocol):
    """A phase on one model: what it will give, and what it gives of a unit and the arms chosen for it."""

    @property
    def outline(self) -> PhaseOutline:
        """What is known before the model has run; may load the weights."""
        ...

    def extract(self, unit: Unit, arms: Any) -> PhaseBlock:
        """Run the model over one unit; a function of plan, unit and arms alone.

        Parameters
        ----------
        unit : Unit
            A run of facts.
        arms : Any
            What analysis chose for the unit.

        Returns
        -------
        PhaseBlock
            The unit's arrays.
        """
        ...


PhaseSteps = tuple[Callable[["Unit"], Any], PhaseRun]
"""How a unit's arms are chosen, and what runs them."""


def _interventions(extraction: Extraction, study: Study) -> PhaseSteps:
    from qloc.analysis.interventions.choosing_neurons import Chooser
    from qloc.extract.interventions.phase import prepare

    plan = extraction.plan
    part, own = plan.intervention_plan(), read_own_sets(plan.sets)
    chooser = Chooser.of(study, part, seed=plan.seed, own=_numbered(own, study, str(plan.sets)))
    return chooser.arms, prepare(extraction, part, neuron_set_labels(part, own), relation_sums(study))


def _edits(extraction: Extraction, study: Study) -> PhaseSteps:
    from qloc.analysis.editing.choosing_edits import EditChooser
    from qloc.extract.edits.phase import prepare

    plan = extraction.plan
    part = plan.edit_plan()
    facts = extraction.facts.facts
    chooser = EditChooser(
        study=study,
        part=part,
        right=tuple(fact.objects for fact in facts),
        entailed=tuple(fact.entailed for fact in facts) if part.entailments else (),
        seed=plan.seed,
    )
    return chooser.arms, prepare(extraction, part, traced_layer=_traced_layer(study, part.sets))


def _traced_layer(study: Study, sets: Collection[str]) -> int:
    """Return the layer that ROME edits where tracing says so; -1 where no edit asks for it."""
    from qloc.analysis.tracing.traced_layer import traced_layer

    if ROME_TRACED not in sets:
        return NO_INDEX
    if "tracing" not in study.datasets:
        rule = f"all of its units, since {ROME_TRACED} edits the layer that tracing names"
        action = "Extract phases signals,tracing first; of shards, merge these"
        raise InputError(message("phase tracing", "missing", rule, "the store", action))
    return traced_layer(study)


def _tracing(extraction: Extraction, study: Study) -> PhaseSteps:
    from qloc.analysis.tracing.traced_queries import TracedQueries
    from qloc.extract.tracing.phase import prepare

    plan = extraction.plan
    chooser = TracedQueries(study=study, part=plan.tracing, seed=plan.seed)
    return chooser.arms, prepare(extraction, plan.tracing)


STEPS: Final[Mapping[str, Callable[[Extraction, Study], PhaseSteps]]] = {
    "interventions": _interventions,
    "edits": _edits,
    "tracing": _tracing,
}
"""What each phase does, in the order in which they run."""


def _numbered(own: OwnSets, study: Study, at: str) -> dict[str, dict[str, Array]]:
    """Users' sets by neuron number, layer · n_neurons + index.

    Raises
    ------
    InputError : neurons that the model has not, facts that the study has not; every problem.
    """
    n_layers, n_neurons = int(study.signals.sizes[LAYER]), int(study.signals.attrs["n_neurons"])
    ids = {"", *study.column("facts", "id").tolist()}
    problems = [
        message("fact", fact, "the id of a fact of the study, or empty for all", at, f"Mend set {name!r}")
        for name, facts in own.items()
        for fact in facts
        if fact not in ids
    ]
    problems += [
        message(
            "neuron", list(neuron), f"[layer < {n_layers}, index < {n_neurons}]", at, f"Mend set {name!r}"
        )
        for name, facts in own.items()
        for neurons in facts.values()
        for neuron in neurons
        if neuron[0] >= n_layers or neuron[1] >= n_neurons
    ]
    if problems:
        raise InputError(problems)
    return {
        name: {
            fact: np.array([layer * n_neurons + index for layer, index in neurons], dtype=np.int64)
            for fact, neurons in facts.items()
        }
        for name, facts in own.items()
    }


def relation_sums(study: Study) -> RelationSums | None:
    """Read the sums of /statistics, relation by relation.

    Parameters
    ----------
    study : Study
        With phase ``signals``.

    Returns
    -------
    RelationSums or None
        None in a store of before there were any.
    """
    found = study.statistics
    if "activation_sum" not in found:
        return None
    counts = dict(zip(found[RELATION].values.tolist(), found["n_queries"].values.tolist(), strict=True))

    def activation_sum(relation: str) -> Array:
        values: Array = found["activation_sum"].sel({RELATION: relation}).to_numpy().astype(np.float64)
        return values

    return RelationSums(n_queries=counts, activation_sum=activation_sum)
