"""The design of a planted study: its parameters, and who is asked what (labels of facts and queries)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from qloc.arrays import Array, Ints
from qloc.errors import InputError, message
from qloc.random_streams import Stream


@dataclass(frozen=True, kw_only=True)
class Planting:
    """Parameters of a planted study.

    Attributes
    ----------
    facts : int
        Number of facts. They are dealt to the relations evenly, unless ``facts_by_relation`` says otherwise.
    relations : int
        Number of relations.
    templates : int
        Number of templates of each relation.
    answers_per_relation : int
        Number of answers that the facts of a relation share.
    one_to_one : int or None
        Number of relations that give each fact an answer of its own. None: a quarter of them, 2 at most.
    shared_answers : float
        Share of answers that are the same string, and have the same neurons, in every relation.
    template_strength : float
        Probability with which a query has each neuron of its template's pool.
    answer_strength : float
        The same for its answer's pool.
    fact_strength : float
        The same for its fact's pool.
    conflict : float
        Share of facts that answer half of their templates with the neurons of another answer.
    pool : int
        Number of neurons in each pool.
    noise : float
        Mean number of other neurons in a set.
    spread : float
        Standard deviation, over relations, of the log strength of answers and facts.
    fact_spread : float
        Standard deviation, over facts, of the log strength of facts.
    template_spread : float
        Standard deviation, over templates, of the log strength of templates.
    missing : float
        Share of queries that cannot be asked.
    known : float
        Share of queries whose answer the model knows.
    leaking : float
        Share of facts whose subject contains the answer.
    empty : float
        Share of queries with an empty set.
    pairs : int
        Number of minimal pairs, in two paradigms.
    n_layers : int
        Number of layers.
    n_neurons : int
        Number of neurons of each layer.
    n_heads : int
        Number of attention heads of each layer. 0: the study has no attention.
    n_tokens : int
        Length of the prompts in tokens.
    methods : tuple of str
        Attribution methods. The planted sets are the same under each.
    unit_facts : int
        Facts of one unit, as in a plan.
    facts_by_relation : tuple of int
        Number of facts of each relation; ``facts`` and ``relations`` follow from it. Empty: evenly dealt.
    size_spread : float
        Standard deviation, over facts, of the log of how many times as many neurons their sets have.
    hubs : float
        Mean number of generic neurons in a set, which each fact divides, by a share of its own, between few
        hubs and all other neurons: facts use hubs unequally.
    shared_templates : bool
        Whether the templates of all relations are the same, with the same neurons and the same terms.
    few_templates : float
        Share of facts of which every second query cannot be asked.
    seed : int
        Seed of every random draw.
    network : int
        Another number stands for another network of the same structure that is asked the same questions. With
        one seed, facts and queries stay as they are; their neurons, and what is known, are drawn anew.
    """

    facts: int = 400
    relations: int = 20
    templates: int = 8
    answers_per_relation: int = 5
    one_to_one: int | None = None
    shared_answers: float = 0.0
    template_strength: float = 0.5
    answer_strength: float = 0.4
    fact_strength: float = 0.2
    conflict: float = 0.0
    pool: int = 8
    noise: float = 4.0
    spread: float = 0.0
    fact_spread: float = 0.0
    template_spread: float = 0.0
    missing: float = 0.1
    known: float = 0.85
    leaking: float = 0.03
    empty: float = 0.01
    pairs: int = 0
    n_layers: int = 4
    n_neurons: int = 256
    n_heads: int = 2
    n_tokens: int = 10
    methods: tuple[str, ...] = ("ig",)
    unit_facts: int = 32
    seed: int = 0
    network: int = 0
    facts_by_relation: tuple[int, ...] = ()
    size_spread: float = 0.0
    hubs: float = 0.0
    shared_templates: bool = False
    few_templates: float = 0.0

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter, JSON only; a later one that plants nothing is left out of the fingerprint."""
        unused = {name for name, none in _LATER.items() if getattr(self, name) == none}
        values = {name: value for name, value in vars(self).items() if name not in unused}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def n_one_to_one(self) -> int:
        """Relations whose facts have an answer of their own each."""
        return min(2, self.relations // 4) if self.one_to_one is None else self.one_to_one

    @property
    def n_total(self) -> int:
        """Neurons of the whole network."""
        return self.n_layers * self.n_neurons

    def check(self) -> None:
        """Refuse values outside their domain, all at once.

        Raises
        ------
        InputError
            A value is outside its domain; the message names every such value.
        """
        problems = []
        for name in (f.name for f in fields(self) if f.type == "float"):
            value = getattr(self, name)
            top = np.inf if name in _UNBOUNDED else 1.0
            if not _number(value) or not 0 <= value <= top:
                rule = "a number ≥ 0" if top > 1 else "a share in [0, 1]"
                problems.append(message(name, value, rule, "planting", "Correct it"))
        least = {"pairs": 0, "n_heads": 0, "seed": 0, "network": 0, "facts": 0}
        for name in (f.name for f in fields(self) if f.type == "int"):
            value, low = getattr(self, name), least.get(name, 1)
            if not _number(value, whole=True) or value < low:
                problems.append(message(name, value, f"a whole number ≥ {low}", "planting", "Correct it"))
        sizes = self.facts_by_relation
        if sizes and not all(_number(n, whole=True) and n > 0 for n in sizes):
            rule = "whole numbers ≥ 1"
            problems.append(message("facts_by_relation", sizes, rule, "planting", "Correct it"))
        elif sizes and (sum(sizes), len(sizes)) != (self.facts, self.relations):
            rule = f"{self.relations} numbers that add up to {self.facts} facts"
            problems.append(
                message("facts_by_relation", sizes, rule, "planting", "Leave facts and relations out")
            )
        if not problems and not self.facts + self.pairs:
            problems.append(message("facts", 0, "at least one fact or pair", "planting", "Plant some"))
        if self.one_to_one is not None and not _number(self.one_to_one, whole=True):
            rule = "a whole number, or None"
            problems.append(message("one_to_one", self.one_to_one, rule, "planting", "Correct it"))
        if not problems and not 0 <= self.n_one_to_one <= self.relations:
            rule = f"a whole number from 0 to the number of relations, {self.relations}"
            problems.append(message("one_to_one", self.one_to_one, rule, "planting", "Correct it"))
        if problems:
            raise InputError(problems)


_UNBOUNDED: Final = ("noise", "spread", "fact_spread", "template_spread", "size_spread", "hubs")
"""Parameters that are no shares."""

_LATER: Final[Mapping[str, Any]] = {
    "facts_by_relation": (), "size_spread": 0.0, "hubs": 0.0, "shared_templates": False, "few_templates": 0.0
}  # fmt: skip
"""Parameters that older planted stores do not name, and their values that plant nothing."""


def _number(value: Any, *, whole: bool = False) -> bool:
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Labels of facts and queries; codes count from 0.

    Attributes
    ----------
    fact : int32 ndarray, shape (query,)
        The fact of each query.
    template, relation, answer, prompt, kind : str ndarray, shape (query,)
        As in ``/queries``.
    known : bool ndarray, shape (query,)
        Whether the model knows the answer.
    empty : bool ndarray, shape (query,)
        Whether the query has an empty set.
    log_probability, bad_log_probability : float32 ndarray, shape (query,)
        log P of the answer, and of the bad continuation; the latter is NaN where there is none.
    template_code, relation_code, answer_code : int64 ndarray, shape (query,)
        Numbers of the pools that the query draws from.
    relation_of_template : int64 ndarray, shape (template,)
        The relation of each template.
    shared_template : int64 ndarray, shape (query,)
        ``template_code``, or where relations share templates one number for the same template of each.
    answer_of_fact, relation_of_fact, subject, feature, class_ : str ndarray, shape (fact,)
        As in ``/facts``. ``class_`` is ``wide``, ``conflict`` or ``pair``.
    frequency : float64 ndarray, shape (fact,)
        A planted frequency of each fact.
    leaks, is_pair : bool ndarray, shape (fact,)
        Whether the subject contains the answer; whether the fact is a minimal pair.
    n_answers : int
        Number of answer pools.
    n_relations : int
        Number of relations, the two paradigms of minimal pairs among them.
    """

    fact: Array
    template: Array
    relation: Array
    answer: Array
    prompt: Array
    kind: Array
    known: Array
    empty: Array
    log_probability: Array
    bad_log_probability: Array
    template_code: Ints
    relation_code: Ints
    answer_code: Ints
    relation_of_template: Ints
    shared_template: Ints
    answer_of_fact: Array
    relation_of_fact: Array
    subject: Array
    feature: Array
    class_: Array
    frequency: Array
    leaks: Array
    is_pair: Array
    n_answers: int
    n_relations: int

    @property
    def n_facts(self) -> int:
        """Number of facts and pairs."""
        return len(self.subject)

    @property
    def n_queries(self) -> int:
        """Number of queries."""
        return len(self.fact)

    @property
    def n_templates(self) -> int:
        """Number of templates over all relations. The prompt of each pair is a template of its own."""
        return len(self.relation_of_template)


def planted_columns(p: Planting, rng: np.random.Generator) -> Columns:
    """Draw the labels: facts first, then minimal pairs.

    Parameters
    ----------
    p : Planting
        The parameters of the study.
    rng : numpy.random.Generator
        The generator of the study; it goes on to draw the sets.

    Returns
    -------
    Columns
        Labels of facts and queries.
    """
    pairs = np.arange(p.pairs)
    of_facts = np.arange(p.facts) * p.relations // max(p.facts, 1)
    if p.facts_by_relation:
        of_facts = np.repeat(np.arange(p.relations), p.facts_by_relation)
    relation = np.concatenate([of_facts, p.relations + pairs % 2]).astype(np.int64)
    is_pair = np.arange(len(relation)) >= p.facts
    answer, code_of_fact = _answers(p, relation, is_pair, rng)
    leaks = (rng.random(len(relation)) < p.leaking) & ~is_pair
    class_ = np.where(rng.random(len(relation)) < p.conflict, "conflict", "wide")
    class_ = np.where(is_pair, "pair", class_)
    fact, template = _asked(p, is_pair, rng)
    own_template = p.relations * p.templates + fact - p.facts
    template_code = np.where(is_pair[fact], own_template, relation[fact] * p.templates + template)
    of_template = np.concatenate([np.repeat(np.arange(p.relations), p.templates), relation[p.facts :]])
    names = np.array([*(f"R{r + 1:02d}" for r in range(p.relations)), "paradigm-1", "paradigm-2"])
    subject = _subjects(answer, leaks)
    return Columns(
        **_drawn(p, is_pair[fact], rng),
        answer_code=_conflicting(p, code_of_fact[fact], relation[fact], class_[fact], template, rng),
        frequency=rng.lognormal(3.0, 1.0, len(relation)),
        fact=fact.astype(np.int32),
        template=_template_names(p, template_code, names[of_template]),
        relation=names[relation[fact]],
        answer=answer[fact],
        prompt=_prompts(subject[fact], template_code),
        kind=np.where(is_pair[fact], "minimal_pair", "fact"),
        template_code=template_code.astype(np.int64),
        relation_code=relation[fact],
        relation_of_template=of_template.astype(np.int64),
        shared_template=_shared_templates(p, template_code),
        answer_of_fact=answer,
        relation_of_fact=names[relation],
        subject=subject,
        feature=np.where(is_pair, np.where(np.isin(answer, ["were", "have"]), "plural", "singular"), ""),
        class_=class_,
        leaks=leaks,
        is_pair=is_pair,
        n_answers=int(code_of_fact.max(initial=0)) + 1,
        n_relations=p.relations + 2,
    )


def in_network(p: Planting, c: Columns) -> tuple[Columns, np.random.Generator]:
    """Draw what another network answers to the same queries.

    Parameters
    ----------
    p : Planting
        The parameters of the study.
    c : Columns
        The labels, as network 0 has them.

    Returns
    -------
    Columns
        The same labels, with the answers of the network ``p.network``.
    numpy.random.Generator
        The generator that the network's sets are to be drawn from.
    """
    rng = Stream.PLANTED_NETWORK.generator(p.seed, p.network)
    answers: dict[str, Any] = dict(_drawn(p, c.is_pair[c.fact], rng))
    return replace(c, **answers), rng


def _drawn(p: Planting, of_pair: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Draw the columns that depend on the network: what is known, and how probable answers are."""
    known = rng.random(len(of_pair)) < p.known
    log_probability = np.where(known, -0.7, -3.0) * rng.gamma(4.0, 0.25, len(of_pair))
    bad = np.where(of_pair, log_probability + np.where(known, -1.0, 1.0), np.nan)
    return {
        "known": known,
        "log_probability": log_probability.astype(np.float32),
        "bad_log_probability": bad.astype(np.float32),
        "empty": rng.random(len(of_pair)) < p.empty,
    }


def _subjects(answer: Array, leaks: Array) -> Array:
    """Return a name for each fact; where the fact leaks, the name contains the answer."""
    number = np.arange(len(answer)).astype(str).astype(object)
    named = np.where(leaks, np.char.add(answer, " "), "subject ").astype(object) + number
    return np.asarray(named.astype(str))


def _answers(p: Planting, relation: Ints, is_pair: Array, rng: np.random.Generator) -> tuple[Array, Ints]:
    """Draw the answer of each fact, and the number of its pool."""
    place = rng.integers(p.answers_per_relation, size=len(relation))
    common = place < round(p.shared_answers * p.answers_per_relation)
    code = np.where(common, place, (relation + 1) * p.answers_per_relation + place)
    name = np.where(
        common, np.char.add("common-", place.astype(str)), np.char.add("answer-", code.astype(str))
    )
    own = (relation >= p.relations - p.n_one_to_one) & ~is_pair
    base = (p.relations + 1) * p.answers_per_relation
    code = np.where(own, base + np.arange(len(relation)), code)
    name = np.where(own, np.char.add("only-", np.arange(len(relation)).astype(str)), name)
    form = (np.arange(len(relation)) // 2) % 2
    verbs = np.array([["was", "were"], ["has", "have"]])
    last = base + p.facts + 2 * (relation - p.relations) + form
    code = np.where(is_pair, last, code)
    name = np.where(is_pair, verbs[np.maximum(relation - p.relations, 0), form], name)
    return name.astype(str), np.unique(code, return_inverse=True)[1].astype(np.int64)


def _asked(p: Planting, is_pair: Array, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw the fact and the template of each query, in the order of the facts."""
    asked = rng.random((len(is_pair), p.templates)) >= p.missing
    if p.few_templates:
        fewer = Stream.PLANTED_FEW_TEMPLATES.generator(p.seed)
        few = fewer.random(len(is_pair)) < p.few_templates
        asked &= ~few[:, None] | (fewer.random(asked.shape) < 0.5)
    asked[is_pair] = np.arange(p.templates) == 0
    fact, template = np.nonzero(asked)
    return fact, template


def _conflicting(
    p: Planting, code: Ints, relation: Ints, class_: Array, template: Ints, rng: np.random.Generator
) -> Ints:
    """Conflict facts answer their even templates with the neurons of another answer of their relation."""
    turned = (class_ == "conflict") & (template % 2 == 0)
    out = code.copy()
    for number in np.unique(relation[turned]):
        here = np.flatnonzero(turned & (relation == number))
        out[here] = rng.choice(np.unique(code[relation == number]), size=len(here))
    return out


def _shared_templates(p: Planting, code: Ints) -> Ints:
    """Give the same template of every relation one number, where relations share them."""
    own = code >= p.relations * p.templates  # the prompts of pairs
    return np.asarray(np.where(own | (not p.shared_templates), code, code % p.templates).astype(np.int64))


def _template_names(p: Planting, code: Ints, relation_of_template: Array) -> Array:
    number = np.char.add("-", (code % p.templates + 1).astype(str))
    names = np.char.add("T" if p.shared_templates else relation_of_template[code], number)
    paired = code >= p.relations * p.templates
    return np.where(paired, np.char.add("pair-", (code - p.relations * p.templates).astype(str)), names)


def _prompts(subject: Array, template_code: Ints) -> Array:
    return np.array(
        [f"Template {t} of {s} is [Y]." for s, t in zip(subject, template_code, strict=True)], dtype=str
    )
