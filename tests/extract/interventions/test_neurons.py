"""Interventions on neurons: every arm equals changing the activation in a pass of its own, brute force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from qloc.arms import Arms
from qloc.block import Unit
from qloc.extract.interventions.neurons import InterventionRun
from qloc.extract.models.loading import LoadedModel, source
from qloc.extract.passes.further_answers import FurtherAnswers
from qloc.extract.passes.late_join_proof import joining
from qloc.extract.passes.matched_controls import matched, output_norms
from qloc.extract.passes.row_engine import Cells, RowEngine, sharing
from qloc.extract.prompts.askable import ask_facts
from qloc.extract.prompts.minimal_pairs import attributed
from qloc.extract.prompts.probe_words import ProbeWords
from qloc.extract.prompts.tokenizing import TokenizedQuery, Tokens
from qloc.extract.signals.extraction import Extraction
from qloc.facts import Fact, FactSet, Query
from qloc.phase_plan import ProbePlan
from qloc.plan import Plan

SETS = ("own", "neighbor", "matched")
OPERATIONS = ("suppress", "enhance", "mean", "resample")


def _engine(loaded: LoadedModel, asked: list[TokenizedQuery], memory: int = 10**9) -> RowEngine:
    engine = RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=memory)
    targets = Tokens.of(asked).targets
    return joining(sharing(engine, targets, 1e-9), targets, "cells")


def _random_sets(n_queries: int, n_cells: int, seed: int) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    dense = np.zeros((n_queries, n_cells), dtype=bool)
    for row in dense[:-1]:  # the last query has no set
        row[rng.choice(n_cells, size=6, replace=False)] = True
    return sparse.csr_array(dense)


def _run(tiny: Any, kind: str, facts: FactSet | None = None, **changed: Any) -> InterventionRun:
    made = tiny(kind)
    facts = facts or made.facts
    found = source(str(made.folder))
    loaded = found.load(dtype="float64", device="cpu")
    of_fact = ask_facts(facts, found.encoder()).asked
    asked = [one for queries in of_fact for one in queries]
    fact = np.repeat(np.arange(len(of_fact)), [len(queries) for queries in of_fact])
    n_cells = loaded.sites.n_layers * loaded.sites.n_neurons
    n = len(asked)
    donor = np.array([(q + 3) % n if q else -1 for q in range(n)], dtype=np.int64)
    arms = Arms(
        sets={"own": _random_sets(n, n_cells, 1), "neighbor": _random_sets(n, n_cells, 2)},
        neighbor=np.full(n, -1),
        other_fact=donor,
    )
    rng = np.random.default_rng(5)
    total = rng.normal(size=(loaded.sites.n_layers, loaded.sites.n_neurons))
    run = InterventionRun(
        unit=Unit(number=0, first_fact=0, last_fact=len(of_fact), first_query=0, last_query=n),
        queries=asked,
        fact=fact,
        relation=["capital"] * n,
        donors={int(q): asked[q] for q in donor if q >= 0},
        arms=arms,
        operations=OPERATIONS,
        names=SETS,
        totals=lambda _: (total, n + 5),
        engine=_engine(loaded, asked),
        seed=0,
        stored=attributed(asked, [facts.facts[f] for f in fact], found.encoder(), "all", "good"),
    )
    return replace(run, **changed)


def _plain(loaded: Any, target: Any, change: Callable[[int, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Logits at the target of the whole model, each layer's activation there changed."""
    handles, calls = [], [0]

    def patch(_: Any, args: Any) -> Any:
        layer, calls[0] = calls[0], calls[0] + 1
        given = args[0].view(1, -1, args[0].shape[-1]).clone()
        given[0, target.position] = change(layer, given[0, target.position])
        return (given.view(args[0].shape), *args[1:])

    for down in set(loaded.downs_of):
        handles.append(down.register_forward_pre_hook(patch))
    with torch.no_grad():
        logits = loaded.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
    for handle in handles:
        handle.remove()
    return logits


class _Loaded:
    def __init__(self, engine: RowEngine) -> None:
        self.model, self.downs_of = engine.model, engine.sites.downs


def _mean_activation(run: InterventionRun, query: int) -> np.ndarray:
    found = np.zeros((run.engine.sites.n_layers, run.engine.sites.n_neurons))
    targets = run.queries[query].targets
    for target in targets:

        def keep(layer: int, given: torch.Tensor) -> torch.Tensor:
            found[layer] += given.numpy() / len(targets)
            return given

        _plain(_Loaded(run.engine), target, keep)
    return found


def _expected(
    run: InterventionRun, operation: str, members: np.ndarray, query: int, mean: np.ndarray | None = None
) -> tuple[float, float, float, int, int]:
    width = run.engine.sites.n_neurons
    if mean is not None:
        value = mean
    elif operation == "mean":
        total, count = run.totals("capital")
        own = np.flatnonzero(run.fact == run.fact[query])
        value = (total - np.sum([_mean_activation(run, int(q)) for q in own], axis=0)) / (count - len(own))
    elif operation == "resample":
        value = _mean_activation(run, int(run.arms.other_fact[query]))
    else:
        value = np.zeros((run.engine.sites.n_layers, width))
    factor = {"enhance": 2.0}.get(operation, 0.0)

    def change(layer: int, given: torch.Tensor) -> torch.Tensor:
        changed = given.clone()
        for neuron in members[members // width == layer] % width:
            changed[neuron] = factor * given[neuron] + value[layer, neuron]
        return changed

    parts = []
    for target in run.queries[query].targets:
        logits = _plain(_Loaded(run.engine), target, change)
        others = torch.cat([logits[: target.token], logits[target.token + 1 :]])
        logit_of = logits[target.token]
        parts.append(
            (
                float(logits.log_softmax(0)[target.token]),
                float(logit_of),
                float(logit_of - others.max()),
                int((logits > logit_of).sum()) + 1,
                int(logits.argmax()),
            )
        )
    logs, logit, margin, rank, argmax = (np.array(values) for values in zip(*parts, strict=True))
    return float(logs.sum()), float(logit.mean()), float(margin.mean()), int(rank.max()), int(argmax[0])


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral", "gpt_neox", "bert"])
def test_every_arm_equals_brute_force(tiny: Any, kind: str) -> None:
    """float64; 1e-5 relative: transformers' RMSNorm computes in float32, LayerNorm models reach 1e-10."""
    run = _run(tiny, kind)
    assert run.engine.shared == (kind != "bert")
    assert run.engine.way is not None
    arrays = run.arrays()
    strength = np.stack([_mean_activation(run, q) for q in range(len(run.queries))])
    strength = np.abs(strength) * output_norms(run.engine.sites)
    sets = dict(run.arms.sets)
    sets["matched"] = matched(sets["own"], strength, [[0, q] for q in range(len(run.queries))])
    for place, name in enumerate(SETS):
        total = [strength[q].ravel()[sets[name][[q]].indices].sum() for q in range(len(run.queries))]
        np.testing.assert_allclose(arrays["strength"][place], total, rtol=1e-6)
    allowed = 1e-9 if kind in ("gpt2", "bert", "gpt_neox") else 2e-5
    queries = [0, 1, 5, len(run.queries) - 1]
    for query in queries:
        for o, operation in enumerate(OPERATIONS):
            for s, name in enumerate(SETS):
                members = sets[name].indices[sets[name].indptr[query] : sets[name].indptr[query + 1]]
                got = [arrays[n][o, s, query] for n in ("log_probability", "logit", "margin")]
                if not len(members) or (operation == "resample" and run.arms.other_fact[query] < 0):
                    assert np.isnan(got).all()
                    assert arrays["rank"][o, s, query] == arrays["argmax"][o, s, query] == -1
                    continue
                *expected, rank, argmax = _expected(run, operation, members, query)
                np.testing.assert_allclose(got, expected, rtol=max(allowed, 3e-7), atol=max(allowed, 3e-6))
                assert (arrays["rank"][o, s, query], arrays["argmax"][o, s, query]) == (rank, argmax)


def _pair(number: int, good: str, bad: str) -> Fact:
    """A minimal pair whose continuations differ in length."""
    return Fact(
        id=f"p{number}",
        relation="agreement",
        subject="",
        object=good,
        bad=bad,
        kind="minimal_pair",
        queries=(Query(template="agreement", text=f"A cat {number} [Y]"),),
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_further_answers_equal_brute_force(tiny: Any, kind: str) -> None:
    """Words of one token and of several, and bad continuations, each in passes of its own; float64."""
    facts = tiny(kind).facts
    facts = replace(facts, facts=(*facts.facts[:2], _pair(1, "Paris", "Ouagadougou")))
    run = _run(tiny, kind, facts)
    fact_of = [facts.facts[number] for number in run.fact]
    encoder = source(str(tiny(kind).folder)).encoder()
    of_relations = {"agreement": ("Nairobi",)}
    probes = ProbeWords.of(ProbePlan(of_relations=of_relations), facts.facts, encoder)
    asked = [probes.ask(*one) for one in zip(run.queries, fact_of, strict=True)]
    answers = [answer for answers in asked for answer in answers if answer is not None]
    assert {len(answer.targets) > 1 for answer in answers} == {True, False}
    assert [answers[0] is None for answers in asked] == [fact.kind == "fact" for fact in fact_of]
    further = FurtherAnswers.of(Tokens.of(run.queries), asked, probes.width)
    assert 0 < len(further.other) < len(answers)  # some share the answer's pass
    probed = replace(run, further=further)
    arrays = probed.arrays()
    for name, values in run.arrays().items():
        np.testing.assert_array_equal(arrays[name], values)
    base, after = probed.further_log_probability()
    none = np.zeros(0, dtype=np.int64)
    for query in (0, len(run.queries) - 2, len(run.queries) - 1):
        for place, answer in enumerate(asked[query]):
            if answer is None:
                assert np.isnan(base[query, place])
                assert np.isnan(after[:, :, query, place]).all()
                continue
            other = replace(run, queries=[answer if q == query else one for q, one in enumerate(run.queries)])
            expected = _expected(other, "suppress", none, query)[0]
            np.testing.assert_allclose(base[query, place], expected, rtol=2e-5, atol=1e-6)
            for o, operation in enumerate(OPERATIONS):
                _, neurons = run.arms.sets["own"][[query]].nonzero()
                if not len(neurons) or operation in ("mean", "resample"):
                    continue
                expected = _expected(other, operation, neurons, query)[0]
                np.testing.assert_allclose(after[o, 0, query, place], expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("answer_tokens", "target"),
    [("first", "good"), ("all", "bad"), ("all", "contrast"), ("first", "contrast")],
)
def test_a_mean_takes_off_what_the_store_added(tiny: Any, answer_tokens: Any, target: Any) -> None:
    """The mean of what extraction stores of the *other* facts' queries, whichever tokens that is taken over."""
    made = tiny("gpt2")
    facts = replace(
        made.facts, facts=(*made.facts.facts, _pair(1, "has been", "have"), _pair(2, "is", "is not"))
    )
    plan = Plan(
        model=str(made.folder),
        dtype="float64",
        quadrature="midpoint",
        steps=1,
        answer_tokens=answer_tokens,
        target=target,
    )
    extraction = Extraction(plan, source(str(made.folder)), facts)
    block = extraction.extract(extraction.outline.units[0])
    relation, fact = block.queries["relation"], block.queries["fact"]

    def totals(name: str) -> tuple[np.ndarray, int]:
        return block.activation[relation == name].sum(0), int((relation == name).sum())

    queries = [query for of_fact in extraction.asking.asked for query in of_fact]
    fact_of = [facts.facts[number] for number in fact]
    run = _run(
        tiny,
        "gpt2",
        facts,
        operations=("mean",),
        names=("own",),
        totals=totals,
        relation=relation.tolist(),
        stored=attributed(queries, fact_of, extraction.source.encoder(), answer_tokens, target),
    )
    n, n_cells = len(queries), block.activation[0].size
    run = replace(run, arms=replace(run.arms, sets={"own": _random_sets(n + 1, n_cells, 1)[:n]}))
    found = run.arrays()["log_probability"][0, 0]
    for query in range(n):
        others = block.activation[(relation == relation[query]) & (fact != fact[query])].mean(0)
        members = run.arms.sets["own"][[query]].indices
        expected, *_ = _expected(run, "mean", members, query, others)
        np.testing.assert_allclose(found[query], expected, rtol=3e-7)


def test_unchanged_rows_are_the_base_and_nothing_is_left_behind(tiny: Any) -> None:
    run = _run(tiny, "gpt2")
    weights = {name: value.clone() for name, value in run.engine.model.state_dict().items()}
    arrays = run.arrays()
    for query, one in enumerate(run.queries):
        logs = [
            _plain(_Loaded(run.engine), t, lambda _, given: given).log_softmax(0)[t.token]
            for t in one.targets
        ]
        np.testing.assert_allclose(arrays["base_log_probability"][query], float(sum(logs)), rtol=3e-7)
    assert all(torch.equal(value, weights[name]) for name, value in run.engine.model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in run.engine.model.modules())


def test_results_do_not_depend_on_the_batch(tiny: Any) -> None:
    whole = _run(tiny, "gpt2").arrays()
    single = _run(tiny, "gpt2")
    narrow = replace(single, engine=replace(single.engine, memory=1)).arrays()  # one row a batch
    for path, values in whole.items():
        np.testing.assert_allclose(values, narrow[path], rtol=1e-6, atol=1e-7, err_msg=path)


def test_a_hook_is_gone_after_an_error(tiny: Any) -> None:
    run = _run(tiny, "gpt2")
    down = run.engine.sites.downs[1]
    handle = down.register_forward_pre_hook(_fail)
    with pytest.raises(ZeroDivisionError):
        run.arrays()
    handle.remove()
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in run.engine.model.modules())


def _fail(*_: Any) -> None:
    raise ZeroDivisionError


def test_cells_of_rows() -> None:
    cells = Cells(
        row=np.array([0, 0, 2]),
        layer=np.array([0, 1, 1]),
        neuron=np.array([3, 4, 5]),
        factor=np.zeros(3),
        offset=np.arange(3.0),
    )
    some = cells.of_rows(np.array([1, 2]))
    assert (some.row.tolist(), some.neuron.tolist(), some.offset.tolist()) == ([1], [5], [2.0])
    assert cells.of_rows(np.array([0, 2])).row.tolist() == [0, 0, 1]
