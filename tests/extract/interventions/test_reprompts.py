"""Near-identical re-prompts: the words stay, and the sets are those of the reworded query, by brute force."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from qloc.arms import row_of
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.engine_proof import proved
from qloc.extract.attribution.integrated_gradients import ScaledPath
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.interventions.reprompts import Reprompts
from qloc.extract.models.loading import source
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.askable import ask_facts
from qloc.extract.prompts.reprompts import asked_again
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.facts import Query
from qloc.methods import method
from qloc.phase_plan import InterventionPlan

STEPS, THRESHOLD, PREFIX = 2, 0.2, InterventionPlan().reprompt


def _asked(tiny: Callable[[str], Any], kind: str) -> tuple[Any, Any, list[TokenizedQuery], list[Any]]:
    made = tiny(kind)
    found = source(str(made.folder))
    of_fact = ask_facts(made.facts, found.encoder()).asked
    facts = [fact for fact, queries in zip(made.facts.facts, of_fact, strict=True) for _ in queries]
    return found, found.load(dtype="float64", device="cpu"), [q for of in of_fact for q in of], facts


def _words(text: str) -> list[str]:
    """Words and signs of a text, apart from special tokens: the masked tokenizer's decoding adds spaces."""
    return re.findall(r"\w+|[^\w\s]", re.sub(r"\[(CLS|SEP)\]", "", text))


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_words_and_answers_stay(tiny: Callable[[str], Any], kind: str) -> None:
    found, _, asked, _ = _asked(tiny, kind)
    decode = found.tokenizer.decode
    n_compared = 0
    for one, again in zip(asked, asked_again(asked, PREFIX, found.encoder()), strict=True):
        assert again is not None
        for before, after in zip(one.targets, again.targets, strict=True):
            assert after.ids != before.ids
            assert after.token == before.token
            rest = len(before.ids) - before.position
            assert len(after.ids) - after.position == rest
            assert _words(decode(after.ids)) == _words(PREFIX + decode(before.ids))
            n_compared += 1
    assert n_compared > 5


def test_what_the_tokenizer_drops_is_no_reprompt(tiny: Callable[[str], Any]) -> None:
    found, _, asked, _ = _asked(tiny, "bert")
    plain = found.encoder()
    assert asked_again(asked[:2], "", plain) == [None, None]  # as a prefix that is dropped: the same tokens
    assert asked_again(asked[:1], "-" * 80, plain) == [None]  # longer than the context
    first = plain.ask(Query(template="t", text="[Y] is the capital of France."), "Paris")
    assert isinstance(first, TokenizedQuery)
    assert asked_again([first], PREFIX, plain) == [None]  # behind a space the answer is another token


def _no_starts(_: Any) -> torch.Tensor:
    raise AssertionError("no path starts at a relation's mean")


def _reprompts(tiny: Callable[[str], Any], kind: str, **given: Any) -> tuple[Reprompts, Any]:
    found, loaded, asked, facts = _asked(tiny, kind)
    n_cells = loaded.sites.n_layers * loaded.sites.n_neurons
    rng = np.random.default_rng(1)
    dense = rng.random((len(asked), n_cells)) < 0.1
    strength = np.where(dense, rng.random(dense.shape) + 0.1, 0.0)
    strength[2] = 0.0  # a query that is not asked again
    some = [target for one in asked for target in one.targets]
    engine = GradientEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
    made: dict[str, Any] = {
        "queries": asked,
        "facts": facts,
        "own": sparse.csr_array(dense),
        "strength": sparse.csr_array(strength),
        "prefix": PREFIX,
        "encoder": found.encoder(),
        "engine": proved(engine, some),
        "rows": RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9),
        "method": method("ig"),
        "path": ScaledPath.of(quadrature("midpoint", STEPS)),
        "answer_tokens": "all",
        "threshold": THRESHOLD,
        "dtype": "float64",
        "starts": _no_starts,
    }
    return Reprompts(**{**made, **given}), loaded


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_sets_are_those_of_the_reworded_query(
    tiny: Callable[[str], Any], kind: str, brute_force: Callable[..., torch.Tensor]
) -> None:
    """Integrated gradients of the re-prompt by brute force, in float64; no score is within 1e-6 of the bar."""
    run, loaded = _reprompts(tiny, kind)
    sets, arrays, width = run.sets, run.arrays(), loaded.sites.n_neurons
    alphas = [(k + 0.5) / STEPS for k in range(STEPS)]
    again = asked_again(run.queries, PREFIX, run.encoder)
    n_again = 0
    for query, one in enumerate(again):
        if one is None or query == 2:
            assert [len(row_of(sets[name], query)) for name in sets] == [0, 0, 0]
            assert [arrays[name][query] for name in ("n_neurons", "n_shared", "rank")] == [-1, -1, -1]
            assert np.isnan(arrays["log_probability"][query])
            continue
        scores = torch.stack([brute_force(loaded, t, alphas) for t in one.targets]).mean(0).flatten().numpy()
        bar = THRESHOLD * scores.max()
        assert np.abs(scores - bar).min() > 1e-6 * bar
        theirs, own = set(np.flatnonzero(scores > bar).tolist()), set(row_of(run.own, query).tolist())
        assert set(row_of(sets["reprompt"], query).tolist()) == theirs
        assert arrays["n_neurons"][query] == len(theirs)
        assert arrays["n_shared"][query] == len(theirs & own)
        dense = run.strength.toarray()[query]
        for name, mine, other, by in (
            ("own_minus_reprompt", own, theirs, dense),
            ("reprompt_minus_own", theirs, own, scores),
        ):
            expected = set()
            for layer in range(loaded.sites.n_layers):
                left, right = ({n for n in s if n // width == layer} for s in (mine - other, other - mine))
                best = sorted(left, key=lambda n: -by[n])
                expected |= set(best[: min(len(left), len(right))])
            assert set(row_of(sets[name], query).tolist()) == expected
        logs = []
        for target in one.targets:
            with torch.no_grad():
                logits = loaded.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
            logs.append(float(logits.log_softmax(0)[target.token]))
        assert arrays["log_probability"][query] == pytest.approx(sum(logs), rel=3e-7)  # kept in float32
        n_again += 1
    assert n_again > 4


def test_paths_from_a_mean_start_where_the_query_is(tiny: Callable[[str], Any]) -> None:
    """A start at zero for all gives the sets of ``ig``; one of each query is asked for by its number."""
    seen: list[int] = []

    def zero(queries: Any) -> torch.Tensor:
        seen.extend(queries)
        return torch.zeros(len(queries), run.engine.sites.n_layers, run.engine.sites.n_neurons).double()

    run, _ = _reprompts(tiny, "gpt2", method=method("ig_mean"), starts=zero)
    plain, _ = _reprompts(tiny, "gpt2")
    assert (run.sets["reprompt"].toarray() == plain.sets["reprompt"].toarray()).all()
    again = np.flatnonzero(np.diff(plain.sets["reprompt"].indptr)).tolist()
    assert sorted(set(seen)) == again
    assert 2 not in seen


def test_another_method_and_first_tokens(tiny: Callable[[str], Any]) -> None:
    """Methods with baselines come by the same way; asking nothing again gives empty sets."""
    every, _ = _reprompts(tiny, "gpt2", method=method("sig"))
    first, _ = _reprompts(tiny, "gpt2", method=method("sig"), answer_tokens="first")
    several = [query for query, one in enumerate(every.queries) if len(one.targets) > 1]
    single = [query for query, one in enumerate(every.queries) if len(one.targets) == 1]
    differ = every.sets["reprompt"].toarray() != first.sets["reprompt"].toarray()
    assert not differ[single].any()
    assert differ[several].any()
    none, _ = _reprompts(tiny, "gpt2", strength=sparse.csr_array(every.own.shape))
    assert [found.nnz for found in none.sets.values()] == [0, 0, 0]
    assert set(none.arrays()["n_neurons"]) == {-1}
