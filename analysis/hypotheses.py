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

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from qloc.analysis.editing import edit_tests, entailment_tests, generalization, rome_layers
from qloc.analysis.inference.draws import DRAWS, Draws
from qloc.analysis.inputs.public_arguments import (
    require_draws,
    require_sets,
    require_study,
    require_study_or_methods,
    require_study_or_sets,
)
from qloc.analysis.interventions import (
    categorical_flips,
    knowledge_synapses,
    neuron_effects,
    reprompt_ceiling,
)
from qloc.analysis.interventions import (
    query_kn_mapping as by_other_templates,
)
from qloc.analysis.localization import (
    behaviour,
    method_agreement,
    reliability,
    syntax,
    welch,
)
from qloc.analysis.localization import (
    inconsistent_share as by_share,
)
from qloc.analysis.localization import (
    kinds_of_facts as by_kinds,
)
from qloc.analysis.localization.overlap import (
    overlap_tests as by_overlap,
)
from qloc.analysis.tracing import restoring_tests
from qloc.hypothesis_registry import REGISTRY

__all__ = [
    "REGISTRY",
    "Draws",
    "beyond_answer",
    "beyond_template",
    "carries_over",
    "cas_at_equal_budget",
    "cas_at_equal_damage",
    "dynamic_selection",
    "edit_against_matched",
    "flips_beyond_matched",
    "inconsistent_share",
    "kinds_of_facts",
    "layers_of_syntax",
    "layers_of_tracing",
    "methods_agree",
    "overlap_tests",
    "own_against_control",
    "own_beyond_reprompt",
    "predicts_behaviour",
    "predicts_generalization",
    "published_welch",
    "query_kn_mapping",
    "restoring_at_subject",
    "rome_at_traced_layer",
    "stable_consistency",
    "syntax_against_facts",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _checked(test: Callable[_P, _T], refuse: Callable[[Any, str], None] = require_study) -> Callable[_P, _T]:
    """Return a test that refuses a first argument, or draws, of another kind than it takes."""
    first = next(iter(signature(test).parameters))

    @wraps(test)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        at = f"qloc.hypotheses.{test.__name__}"
        refuse(args[0] if args else kwargs.get(first), at)
        require_draws(kwargs.get("draws", DRAWS), at)
        return test(*args, **kwargs)

    return checked


beyond_template = _checked(by_overlap.beyond_template, require_study_or_sets)
beyond_answer = _checked(by_overlap.beyond_answer, require_study_or_sets)
inconsistent_share = _checked(by_share.inconsistent_share, require_study_or_sets)
stable_consistency = _checked(reliability.stable_consistency, require_study_or_sets)
kinds_of_facts = _checked(by_kinds.kinds_of_facts, require_study_or_sets)
published_welch = _checked(welch.published_welch, require_study_or_sets)
predicts_behaviour = _checked(behaviour.predicts_behaviour)
own_against_control = _checked(neuron_effects.own_against_control)
flips_beyond_matched = _checked(categorical_flips.flips_beyond_matched)
query_kn_mapping = _checked(by_other_templates.query_kn_mapping)
own_beyond_reprompt = _checked(reprompt_ceiling.own_beyond_reprompt)
dynamic_selection = _checked(knowledge_synapses.dynamic_selection)
edit_against_matched = _checked(edit_tests.edit_against_matched)
cas_at_equal_budget = _checked(edit_tests.cas_at_equal_budget)
cas_at_equal_damage = _checked(edit_tests.cas_at_equal_damage)
carries_over = _checked(entailment_tests.carries_over)
predicts_generalization = _checked(generalization.predicts_generalization)
methods_agree = _checked(method_agreement.methods_agree, require_study_or_methods)
syntax_against_facts = _checked(syntax.syntax_against_facts)
layers_of_syntax = _checked(syntax.layers_of_syntax)
restoring_at_subject = _checked(restoring_tests.restoring_at_subject)
rome_at_traced_layer = _checked(rome_layers.rome_at_traced_layer)
layers_of_tracing = _checked(restoring_tests.layers_of_tracing)
overlap_tests = _checked(by_overlap.overlap_tests, require_sets)
