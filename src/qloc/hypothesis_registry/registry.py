"""The registry of hypotheses: name, question, direction, phase and public function of each, once.

The plan checks ``confirmatory`` against it, every test takes its name and its question from it, and
``qloc.hypotheses`` offers it as ``REGISTRY``. How each test works, and how well it holds: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from qloc.hypothesis_registry.hypothesis import Claims, Hypothesis
from qloc.hypothesis_registry.reassessed import REASSESSED

_ENTRIES: Final = (
    Hypothesis(
        name="H1a",
        question="Do a fact's queries share more neurons than the same templates do over other facts?",
        direction="more",
        phase="signals",
        function="beyond_template",
        claims=Claims(
            more="a fact's queries share more neurons than the same templates do over other facts",
            equal="a fact's queries share about as many neurons as the same templates do over other facts",
            less="a fact's queries share fewer neurons than the same templates do over other facts",
        ),
        predicted={"Knowledge Localization": "more"},
    ),
    Hypothesis(
        name="H1b",
        question="Do a fact's queries share more neurons than its answer does over other facts?",
        direction="more",
        phase="signals",
        function="beyond_answer",
        claims=Claims(
            more="a fact's queries share more neurons than its answer does over other facts",
            equal="a fact's queries share about as many neurons as its answer does over other facts",
            less="a fact's queries share fewer neurons than its answer does over other facts",
        ),
        predicted={"Knowledge Localization": "more", "Shared words": "equal"},
    ),
    Hypothesis(
        name="H2",
        question="How much knowledge is inconsistent?",
        direction="descriptive",
        phase="signals",
        function="inconsistent_share",
    ),
    Hypothesis(
        name="H3",
        question="Is how consistent a fact's knowledge neurons are a stable property of the fact?",
        direction="more",
        phase="signals",
        function="stable_consistency",
        claims=Claims(
            more="how consistent a fact's knowledge neurons are is a stable property of the fact",
            equal="how consistent a fact's knowledge neurons are on half of its queries says next to "
            "nothing of the other half",
            less="facts whose knowledge neurons are more consistent on half of their queries are less so "
            "on the other half",
        ),
    ),
    Hypothesis(
        name="H4",
        question="Are there two kinds of facts, consistent and inconsistent, or a continuum?",
        direction="descriptive",
        phase="signals",
        function="kinds_of_facts",
    ),
    Hypothesis(
        name="H5",
        question="Does a query's own set stand out more against that of another query of the fact than "
        "against that of its near-identical re-prompt?",
        direction="more",
        phase="interventions",
        function="own_beyond_reprompt",
        claims=Claims(
            more="a query's own set stands out more against that of another query of the fact than "
            "against that of its near-identical re-prompt",
            equal="a query's own set stands out about as much against that of another query of the fact as "
            "against that of its near-identical re-prompt",
            less="a query's own set stands out less against that of another query of the fact than "
            "against that of its near-identical re-prompt",
        ),
        predicted={"Knowledge Localization": "equal", "Query Localization": "more"},
    ),
    Hypothesis(
        name="H5a",
        question="Do a query's knowledge neurons matter more to its answer than as many neurons of the same "
        "layers and strength?",
        direction="more",
        phase="interventions",
        function="own_against_control",
        claims=Claims(
            more="a query's knowledge neurons matter more to its answer than as many neurons of the same "
            "layers and strength",
            equal="a query's knowledge neurons matter about as much to its answer as an equal number "
            "of neurons of the same layers and strength",
            less="a query's knowledge neurons matter less to its answer than as many neurons of the same "
            "layers and strength",
        ),
        arguments={"control": "matched"},
    ),
    Hypothesis(
        name="H5b",
        question="Do a query's knowledge neurons matter more to its answer than the neurons of another fact "
        "asked with the same template?",
        direction="more",
        phase="interventions",
        function="own_against_control",
        claims=Claims(
            more="a query's knowledge neurons matter more to its answer than the neurons of another fact "
            "asked with the same template",
            equal="a query's knowledge neurons matter about as much to its answer as the neurons of "
            "another fact asked with the same template",
            less="a query's knowledge neurons matter less to its answer than the neurons of another fact "
            "asked with the same template",
        ),
        arguments={"control": "other_fact"},
    ),
    Hypothesis(
        name="H5c",
        question="Do own sets stand out more, against a neighbor query's, in facts whose queries agree less?",
        direction="descriptive",
        phase="interventions",
        function="query_kn_mapping",
    ),
    Hypothesis(
        name="H6a",
        question="Do knowledge synapses move knowledge neurons more than other attention does?",
        direction="more",
        phase="synapses",
        function="dynamic_selection",
        claims=Claims(
            more="knowledge synapses move knowledge neurons more than other attention does",
            equal="knowledge synapses move knowledge neurons about as much as other attention does",
            less="knowledge synapses move knowledge neurons less than other attention does",
        ),
        arguments={"outcome": "activation"},
        predicted={"Query Localization": "more"},
    ),
    Hypothesis(
        name="H6b",
        question="Do knowledge synapses move the answer more than other attention does?",
        direction="more",
        phase="synapses",
        function="dynamic_selection",
        claims=Claims(
            more="knowledge synapses move the answer more than other attention does",
            equal="knowledge synapses move the answer about as much as other attention does",
            less="knowledge synapses move the answer less than other attention does",
        ),
        arguments={"outcome": "answer"},
    ),
    Hypothesis(
        name="H7a",
        question="Does erasing knowledge neurons do more than the same to as many matched neurons?",
        direction="more",
        phase="edits",
        function="edit_against_matched",
        claims=Claims(
            more="erasing knowledge neurons does more than the same to as many matched neurons",
            equal="erasing knowledge neurons does about as much as the same to as many matched neurons",
            less="erasing knowledge neurons does less than the same to as many matched neurons",
        ),
        arguments={"operation": "erase"},
    ),
    Hypothesis(
        name="H7b",
        question="Does updating knowledge neurons do more than the same to as many matched neurons?",
        direction="more",
        phase="edits",
        function="edit_against_matched",
        claims=Claims(
            more="updating knowledge neurons does more than the same to as many matched neurons",
            equal="updating knowledge neurons does about as much as the same to as many matched neurons",
            less="updating knowledge neurons does less than the same to as many matched neurons",
        ),
        arguments={"operation": "update"},
    ),
    Hypothesis(
        name="H8a",
        question="Do updates of the neurons of the highest CAS generalize further than as many of N_i?",
        direction="more",
        phase="edits",
        function="cas_at_equal_budget",
        claims=Claims(
            more="updates of the neurons of the highest CAS generalize further than as many of N_i",
            equal="updates of the neurons of the highest CAS generalize about as far as an equal number "
            "of N_i",
            less="updates of the neurons of the highest CAS generalize less far than as many of N_i",
        ),
        arguments={"against": "own_top"},
    ),
    Hypothesis(
        name="H8b",
        question="Do updates of the neurons of the highest CAS generalize further than as many of N_u?",
        direction="more",
        phase="edits",
        function="cas_at_equal_budget",
        claims=Claims(
            more="updates of the neurons of the highest CAS generalize further than as many of N_u",
            equal="updates of the neurons of the highest CAS generalize about as far as an equal number "
            "of N_u",
            less="updates of the neurons of the highest CAS generalize less far than as many of N_u",
        ),
        arguments={"against": "union_top"},
    ),
    Hypothesis(
        name="H8c",
        question="At equal damage, do updates of CAS neurons generalize further than of those of N_i?",
        direction="more",
        phase="edits",
        function="cas_at_equal_damage",
        claims=Claims(
            more="at equal damage, updates of CAS neurons generalize further than those of N_i",
            equal="at equal damage, updates of CAS neurons generalize about as far as those of N_i",
            less="at equal damage, updates of CAS neurons generalize less far than those of N_i",
        ),
        arguments={"against": "own"},
    ),
    Hypothesis(
        name="H8d",
        question="At equal damage, do updates of CAS neurons generalize further than of those of N_u?",
        direction="more",
        phase="edits",
        function="cas_at_equal_damage",
        claims=Claims(
            more="at equal damage, updates of CAS neurons generalize further than those of N_u",
            equal="at equal damage, updates of CAS neurons generalize about as far as those of N_u",
            less="at equal damage, updates of CAS neurons generalize less far than those of N_u",
        ),
        arguments={"against": "union"},
    ),
    Hypothesis(
        name="H8e",
        question="At equal damage, do updates of CAS neurons generalize further than of the same score "
        "without its penalty (β2 = 0)?",
        direction="more",
        phase="edits",
        function="cas_at_equal_damage",
        claims=Claims(
            more="at equal damage, updates of CAS neurons generalize further than those of the same score "
            "without its penalty (β2 = 0)",
            equal="at equal damage, updates of CAS neurons generalize about as far as those of the same "
            "score without its penalty (β2 = 0)",
            less="at equal damage, updates of CAS neurons generalize less far than those of the same "
            "score without its penalty (β2 = 0)",
        ),
        arguments={"against": "cas_no_penalty"},
    ),
    Hypothesis(
        name="H9",
        question="Do attribution methods agree on a query more than paraphrases of a fact agree by one "
        "method?",
        direction="more",
        phase="signals",
        function="methods_agree",
        claims=Claims(
            more="attribution methods agree on a query more than paraphrases of a fact agree by one method",
            equal="attribution methods agree on a query about as much as paraphrases of a fact agree by "
            "one method",
            less="attribution methods agree on a query less than paraphrases of a fact agree by one method",
        ),
    ),
    Hypothesis(
        name="H10a",
        question="Do facts with a higher κ get the same most likely answer more often?",
        direction="more",
        phase="signals",
        function="predicts_behaviour",
        claims=Claims(
            more="facts with a higher κ get the same most likely answer more often",
            equal="facts with a higher κ get the same most likely answer about as often",
            less="facts with a higher κ get the same most likely answer less often",
        ),
        arguments={"outcome": "agreement"},
    ),
    Hypothesis(
        name="H10b",
        question="Do facts with a higher κ get the same candidate answer more often?",
        direction="more",
        phase="signals",
        function="predicts_behaviour",
        claims=Claims(
            more="facts with a higher κ get the same candidate answer more often",
            equal="facts with a higher κ get the same candidate answer about as often",
            less="facts with a higher κ get the same candidate answer less often",
        ),
        arguments={"outcome": "candidate_agreement"},
    ),
    Hypothesis(
        name="H10c",
        question="Do facts with a higher κ get their answer with more probability?",
        direction="more",
        phase="signals",
        function="predicts_behaviour",
        claims=Claims(
            more="facts with a higher κ get their answer with more probability",
            equal="facts with a higher κ get their answer with about the same probability",
            less="facts with a higher κ get their answer with less probability",
        ),
        arguments={"outcome": "log_probability"},
    ),
    Hypothesis(
        name="H10d",
        question="Do updates of facts with a higher κ carry further to paraphrases?",
        direction="more",
        phase="edits",
        function="predicts_generalization",
        claims=Claims(
            more="updates of facts with a higher κ carry further to paraphrases",
            equal="updates of facts with a higher κ carry about as far to paraphrases",
            less="updates of facts with a higher κ carry less far to paraphrases",
        ),
    ),
    *REASSESSED,
)

REGISTRY: Final[Mapping[str, Hypothesis]] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Name → hypothesis, in the order of their numbers."""

CONFIRMABLE: Final = tuple(name for name, entry in REGISTRY.items() if entry.direction != "descriptive")
"""Names that a plan may list as confirmatory: those of hypotheses with a test."""


def hypothesis_of(function: str, **arguments: str) -> Hypothesis:
    """Return the hypothesis that a public function tests when it gets these arguments.

    Parameters
    ----------
    function : str
        Name of a function of ``qloc.hypotheses``.
    **arguments : str
        The keyword arguments that tell its hypotheses apart; none where it tests one only.

    Returns
    -------
    Hypothesis
        The registered one.

    Raises
    ------
    KeyError
        No hypothesis is registered for this function with these arguments.

    Examples
    --------
    >>> hypothesis_of("own_against_control", control="matched").name, hypothesis_of("beyond_answer").name
    ('H5a', 'H1b')
    """
    for entry in _ENTRIES:
        if entry.function == function and dict(entry.arguments) == arguments:
            return entry
    raise KeyError(f"{function}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})")
