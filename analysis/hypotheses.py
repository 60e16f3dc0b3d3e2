"""Hypotheses by name: each a function from a study, or its neuron sets, to a TestResult.

``REGISTRY`` lists them: name → question, direction, phase, function and its fixed arguments.

Examples
--------
>>> from qloc.simulation.simulate import simulate
>>> study = simulate(facts=60, relations=3, templates=4, seed=1)
>>> result = beyond_template(study, draws=Draws(n_permutations=99))
>>> result.name, result.verdict
('H1a', 'holds')
>>> [name for name, entry in REGISTRY.items() if entry.function == "edit_against_matched"]
['H7a', 'H7b']
"""

from __future__ import annotations

from qloc.analysis.editing.edit_tests import (
    cas_at_equal_budget,
    cas_at_equal_damage,
    edit_against_matched,
)
from qloc.analysis.editing.generalization import predicts_generalization
from qloc.analysis.inference.draws import Draws
from qloc.analysis.interventions.knowledge_synapses import dynamic_selection
from qloc.analysis.interventions.neuron_effects import own_against_control
from qloc.analysis.interventions.query_kn_mapping import query_kn_mapping
from qloc.analysis.interventions.reprompt_ceiling import own_beyond_reprompt
from qloc.analysis.localization.behaviour import predicts_behaviour
from qloc.analysis.localization.inconsistent_share import inconsistent_share
from qloc.analysis.localization.kinds_of_facts import kinds_of_facts
from qloc.analysis.localization.method_agreement import methods_agree
from qloc.analysis.localization.overlap_tests import beyond_answer, beyond_template, overlap_tests
from qloc.analysis.localization.reliability import stable_consistency
from qloc.analysis.localization.welch import published_welch
from qloc.hypothesis_registry import REGISTRY

__all__ = [
    "REGISTRY",
    "Draws",
    "beyond_answer",
    "beyond_template",
    "cas_at_equal_budget",
    "cas_at_equal_damage",
    "dynamic_selection",
    "edit_against_matched",
    "inconsistent_share",
    "kinds_of_facts",
    "methods_agree",
    "overlap_tests",
    "own_against_control",
    "own_beyond_reprompt",
    "predicts_behaviour",
    "predicts_generalization",
    "published_welch",
    "query_kn_mapping",
    "stable_consistency",
]
