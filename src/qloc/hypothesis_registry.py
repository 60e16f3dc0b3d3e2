"""The registry of hypotheses: name, question, direction, phase and public function of each, once.

The plan checks ``confirmatory`` against it, every test takes its name and its question from it, and
``qloc.hypotheses`` offers it as ``REGISTRY``. It needs nothing but the standard library, so that a command
line starts light. How each test works, and how well it holds: docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Direction = Literal["more", "less", "two-sided", "descriptive"]
Phase = Literal["signals", "interventions", "synapses", "edits"]


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One hypothesis, as every test, plan and report names it.

    Attributes
    ----------
    name : str
        Such as ``H1a``.
    question : str
        What is asked, one line.
    direction : {"more", "less", "two-sided", "descriptive"}
        What the test rejects for: an estimate above 0, below 0, or either; ``descriptive`` where there is no
        test.
    phase : {"signals", "interventions", "synapses", "edits"}
        Group of the store that it reads beside the signals.
    function : str
        Name of the public function of ``qloc.hypotheses`` that tests it.
    arguments : mapping of str to str
        Keyword arguments that make that function test this hypothesis; empty where it tests no other.
    """

    name: str
    question: str
    direction: Direction
    phase: Phase
    function: str
    arguments: Mapping[str, str] = field(default_factory=dict)


_ENTRIES: Final = (
    Hypothesis(
        name="H1a",
        question="Do a fact's queries share more neurons than the same templates do over other facts?",
        direction="more",
        phase="signals",
        function="beyond_template",
    ),
    Hypothesis(
        name="H1b",
        question="Do a fact's queries share more neurons than its answer does over other facts?",
        direction="more",
        phase="signals",
        function="beyond_answer",
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
    ),
    Hypothesis(
        name="H5a",
        question="Do a query's knowledge neurons matter more to its answer than as many neurons of the same "
        "layers and strength?",
        direction="more",
        phase="interventions",
        function="own_against_control",
        arguments={"control": "matched"},
    ),
    Hypothesis(
        name="H5b",
        question="Do a query's knowledge neurons matter more to its answer than the neurons of another fact "
        "asked with the same template?",
        direction="more",
        phase="interventions",
        function="own_against_control",
        arguments={"control": "other_fact"},
    ),
    Hypothesis(
        name="H5c",
        question="Do own sets stand out more, against a neighbor query's, in facts whose queries agree less?",
        direction="less",
        phase="interventions",
        function="query_kn_mapping",
    ),
    Hypothesis(
        name="H6a",
        question="Do knowledge synapses move knowledge neurons more than other attention does?",
        direction="more",
        phase="synapses",
        function="dynamic_selection",
        arguments={"outcome": "activation"},
    ),
    Hypothesis(
        name="H6b",
        question="Do knowledge synapses move the answer more than other attention does?",
        direction="more",
        phase="synapses",
        function="dynamic_selection",
        arguments={"outcome": "answer"},
    ),
    Hypothesis(
        name="H7a",
        question="Does erasing knowledge neurons do more than the same to as many matched neurons?",
        direction="more",
        phase="edits",
        function="edit_against_matched",
        arguments={"operation": "erase"},
    ),
    Hypothesis(
        name="H7b",
        question="Does updating knowledge neurons do more than the same to as many matched neurons?",
        direction="more",
        phase="edits",
        function="edit_against_matched",
        arguments={"operation": "update"},
    ),
    Hypothesis(
        name="H8a",
        question="Do updates of the neurons of the highest CAS generalize further than as many of N_i?",
        direction="more",
        phase="edits",
        function="cas_at_equal_budget",
        arguments={"against": "own_top"},
    ),
    Hypothesis(
        name="H8b",
        question="Do updates of the neurons of the highest CAS generalize further than as many of N_u?",
        direction="more",
        phase="edits",
        function="cas_at_equal_budget",
        arguments={"against": "union_top"},
    ),
    Hypothesis(
        name="H8c",
        question="At equal damage, do updates of CAS neurons generalize further than of those of N_i?",
        direction="more",
        phase="edits",
        function="cas_at_equal_damage",
        arguments={"against": "own"},
    ),
    Hypothesis(
        name="H8d",
        question="At equal damage, do updates of CAS neurons generalize further than of those of N_u?",
        direction="more",
        phase="edits",
        function="cas_at_equal_damage",
        arguments={"against": "union"},
    ),
    Hypothesis(
        name="H8e",
        question="At equal damage, do updates of CAS neurons generalize further than of the same score "
        "without its penalty (β2 = 0)?",
        direction="more",
        phase="edits",
        function="cas_at_equal_damage",
        arguments={"against": "cas_no_penalty"},
    ),
    Hypothesis(
        name="H9",
        question="Do attribution methods agree on a query more than paraphrases of a fact agree by one "
        "method?",
        direction="two-sided",
        phase="signals",
        function="methods_agree",
    ),
    Hypothesis(
        name="H10a",
        question="Do facts with a higher κ get the same most likely answer more often?",
        direction="two-sided",
        phase="signals",
        function="predicts_behaviour",
        arguments={"outcome": "agreement"},
    ),
    Hypothesis(
        name="H10b",
        question="Do facts with a higher κ get the same candidate answer more often?",
        direction="two-sided",
        phase="signals",
        function="predicts_behaviour",
        arguments={"outcome": "candidate_agreement"},
    ),
    Hypothesis(
        name="H10c",
        question="Do facts with a higher κ get their answer with more probability?",
        direction="two-sided",
        phase="signals",
        function="predicts_behaviour",
        arguments={"outcome": "log_probability"},
    ),
    Hypothesis(
        name="H10d",
        question="Do updates of facts with a higher κ carry further to paraphrases?",
        direction="more",
        phase="edits",
        function="predicts_generalization",
    ),
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
