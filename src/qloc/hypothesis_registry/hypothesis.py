"""What is said of a hypothesis before it is tested: question, claims, and what accounts predict of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Direction = Literal["more", "less", "two-sided", "descriptive"]
Phase = Literal["signals", "interventions", "synapses", "edits", "entailments", "tracing"]
Region = Literal["more", "equal", "less"]

ACCOUNTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Knowledge Localization": "a fact lies in one small set of neurons, however it is asked",
        "Query Localization": "each query of a fact has neurons of its own, which attention selects",
        "Shared words": "what a fact's queries share is their template's and their answer's",
    }
)
"""What could be: name of an account → what it says, as a clause; what follows is ``Hypothesis.predicted``."""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What each region of an estimate says, as clauses that begin in lower case and end without a period.

    Attributes
    ----------
    more : str
        What an estimate above 0 says, such as ``CAS neurons carry further than N_i``.
    equal : str
        What an estimate within the smallest effect of interest says.
    less : str
        What an estimate below 0 says.
    """

    more: str
    equal: str
    less: str


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
        What the question asks for: an estimate above 0, below 0, or either; ``descriptive`` where there is no
        test.
    phase : {"signals", "interventions", "synapses", "edits", "entailments", "tracing"}
        Group of the store that it reads beside the signals.
    function : str
        Name of the public function of ``qloc.hypotheses`` that tests it.
    claims : Claims or None
        What is claimed where the estimate is above 0, practically 0, or below 0; None where there is no test.
    arguments : mapping of str to str
        Keyword arguments that make that function test this hypothesis; empty where it tests no other.
    predicted : mapping of str to {"more", "equal", "less"}
        The claim that each account of :data:`ACCOUNTS` makes; without those that make none.
    """

    name: str
    question: str
    direction: Direction
    phase: Phase
    function: str
    claims: Claims | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    predicted: Mapping[str, Region] = field(default_factory=dict)
