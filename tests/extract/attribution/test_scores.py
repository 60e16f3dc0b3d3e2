"""Every attribution method against its definition: autograd on the plain model, one path and node at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qloc.errors import InputError
from qloc.extract.attribution.amig_sig_baselines import Replacing
from qloc.extract.attribution.integrated_gradients import PathIntegral, ScaledPath
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.attribution.scores import scores, scores_by, scores_from_baselines
from qloc.extract.signals.extraction import Extraction
from qloc.facts import FactSet
from qloc.methods import AttributionMethod, method, register
from qloc.plan import plan_from

KINDS = ("gpt2", "llama", "bert")

# ---- one path by hand


def _integral() -> PathIntegral:
    """Two targets, one layer, two neurons."""
    return PathIntegral(
        activation=torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]]),
        step=torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]]),
        gradient=torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]]]),
        mean_gradient=torch.tensor([[[3.0, 4.0]], [[1.0, 1.0]]]),
        probability=torch.tensor([10.0, 0.5]),
        start_probability=torch.tensor([[2.0], [0.5]]),
        hidden=torch.zeros(2, 3),
        n_nodes=torch.ones(2, 1, dtype=torch.int64),
        error=torch.tensor([[0.5], [0.25]]),
        converged=torch.tensor([[1], [0]], dtype=torch.int8),
    )


def test_scores_by_hand() -> None:
    ig = scores(method("ig"), _integral())
    assert ig.attribution.tolist() == [[[3, 4]], [[0, 0]]]
    assert ig.gap.tolist() == [[0.125], [0]]  # |7 − 8| / 8, and 0/0
    amig = scores(method("amig"), _integral())
    torch.testing.assert_close(amig.attribution, torch.tensor([[[0.6, 0.8]], [[0.0, 0.0]]]))
    assert (ig.error.tolist(), ig.n_nodes.tolist(), ig.converged.tolist()) == (
        [[0.5], [0.25]],
        [[1], [1]],
        [[1], [0]],
    )
    torch.testing.assert_close(amig.error, torch.tensor([[0.1], [0.0]]))  # divided by the same norm
    assert torch.equal(amig.gap, ig.gap)  # of the scores before they are normalized
    plain = scores(method("grad_x_act"), _integral())
    assert plain.attribution.tolist() == [[[0.5, 1.0]], [[0, 0]]]
    assert bool(plain.gap.isnan().all() and plain.error.isnan().all())
    assert (plain.n_nodes.tolist(), plain.converged.tolist()) == ([[0], [0]], [[-1], [-1]])


def test_squares_of_small_scores_do_not_vanish() -> None:
    tiny = AttributionMethod(
        name="tiny", path="zero", score=lambda found: found.activation * 1e-30, normalized=True
    )
    found = scores(tiny, _integral()).attribution
    torch.testing.assert_close(found[0, 0], torch.tensor([1.0, 2.0]) / 5**0.5)
    assert found.dtype == torch.float32


def test_scores_of_another_shape_are_refused() -> None:
    flat = AttributionMethod(name="flat", path="zero", score=lambda found: found.step.sum(-1))
    with pytest.raises(InputError) as caught:
        scores(flat, _integral())
    rule = "a tensor of scores of the activations' shape, (2, 1, 2)"
    assert str(caught.value) == (
        f"attribution method is 'flat'; expected {rule}. At its shape (2, 1). Mend it."
    )
    plain = AttributionMethod(name="plain", path="zero", score=lambda found: found.step.numpy())
    with pytest.raises(InputError, match=r"At its shape \(\)\. Mend it\.$"):
        scores(plain, _integral())


def test_a_failure_of_a_users_method_is_no_bug_of_ours() -> None:
    def missing(found: Any) -> Any:
        return found.nothing

    theirs = AttributionMethod(name="mine:missing", path="zero", score=missing, source="digest")
    with pytest.raises(InputError) as caught:
        scores(theirs, _integral())
    line = missing.__code__.co_firstlineno + 1
    assert str(caught.value) == (
        "attribution method mine:missing is \"AttributeError: 'PathIntegral' object has no attribute 'nothing'\"; "
        f"expected a tensor of scores. At test_scores.py, line {line}. Mend it."
    )
    with pytest.raises(AttributeError):
        scores(replace(theirs, source=""), _integral())


# ---- every method


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_is_its_definition(
    study: Callable[..., Extraction], plain: Any, usual: Any, close: Any, kind: str
) -> None:
    made = study(kind, quadrature="gauss")
    block, tokenizer = made.extract(made.outline.units[0]), made.source.tokenizer
    token = tokenizer.mask_token_id if kind == "bert" else tokenizer.eos_token_id
    rule, loaded = quadrature("gauss", 2), made.loaded
    queries = [query for of_fact in made.asking.asked for query in of_fact]
    fact_of = [fact for fact, of_fact in enumerate(made.asking.asked) for _ in of_fact]
    lengths = {len(query.targets[0].ids) for query in queries}
    assert len(lengths) > 1
    assert max(len(query.targets) for query in queries) > 1
    several = max(range(len(queries)), key=lambda number: len(queries[number].targets))
    for query in (0, several):
        relation = usual(made, fact_of[query])
        each = [
            plain(loaded.model, list(loaded.sites.downs), target).by_definition(
                rule, token, set(tokenizer.all_special_ids), relation
            )
            for target in queries[query].targets
        ]
        for number, name in enumerate(made.plan.methods):
            expected = torch.stack([found[name][0] for found in each]).mean(0)
            close(block.attribution[number, query], expected)
            worst = torch.stack([found[name][1] for found in each]).max(0).values
            # the gap is kept as float32
            np.testing.assert_allclose(block.completeness_gap[number, query], worst, rtol=1e-5, atol=1e-7)


def test_the_mean_over_answer_tokens_is_taken_after_normalizing(
    study: Callable[..., Extraction], close: Any
) -> None:
    made = study("gpt2", methods="amig")
    query = made.asking.asked[2][0]
    whole = made.extract(made.outline.units[0]).attribution[0, 5]
    replacing = Replacing.of(made.source.tokenizer, "causal")
    rows: dict[int, Tensor] = {}
    for _, indices, found in scores_from_baselines(
        made.engine, query.targets, [method("amig")], ScaledPath.of(quadrature("midpoint", 2)), replacing
    ):
        rows |= dict(zip(indices, found.attribution, strict=True))
    each = torch.stack([rows[n] for n in range(len(query.targets))])
    assert len(each) > 1
    torch.testing.assert_close(each.flatten(1).norm(dim=1), torch.ones(len(each)).double())
    close(whole, each.mean(0))


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_scores_do_not_depend_on_neighbors_or_memory(study: Callable[..., Extraction], kind: str) -> None:
    plan: dict[str, Any] = {
        "methods": "ig,ig_mean,amig,sig",
        "quadrature": "adaptive",
        "gap_tolerance": 1e-4,
        "answer_tokens": "first",
    }
    made = study(kind, **plan)
    whole = made.extract(made.outline.units[0])
    apart = study(kind, **plan, unit_facts=1, memory=10**6)
    found = [apart.extract(unit) for unit in apart.outline.units]
    for name in ("attribution", "completeness_gap"):
        other = np.concatenate([getattr(block, name) for block in found], axis=1)
        np.testing.assert_allclose(other, getattr(whole, name), rtol=0, atol=1e-9)


def test_methods_asked_together_are_those_asked_alone(study: Callable[..., Extraction]) -> None:
    together = study("gpt2", answer_tokens="first")
    block = together.extract(together.outline.units[0])
    for number, name in enumerate(together.plan.methods):
        alone = study("gpt2", methods=name, answer_tokens="first")
        found = alone.extract(alone.outline.units[0])
        np.testing.assert_allclose(found.attribution[0], block.attribution[number], rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.gradient, block.gradient, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(found.queries["top_token_id"], block.queries["top_token_id"])


def test_one_method_is_scored_wherever_its_path_starts(study: Callable[..., Extraction]) -> None:
    made = study("gpt2")
    targets = [query.targets[0] for query in made.asking.asked[0]]
    path = ScaledPath.of(quadrature("midpoint", 2))
    replacing = Replacing.of(made.source.tokenizer, "causal")
    for name in ("ig", "grad_x_act", "sig", "amig"):
        found = list(scores_by(made.engine, targets, method(name), path, made.source.tokenizer))
        assert sorted(index for indices, _ in found for index in indices) == list(range(len(targets)))
        if name in ("sig", "amig"):
            theirs = scores_from_baselines(made.engine, targets, [method(name)], path, replacing)
            for (indices, ours), (own, other, expected) in zip(found, theirs, strict=True):
                assert (indices, own.name) == (other, name)
                assert torch.equal(ours.attribution, expected.attribution)
    with pytest.raises(TypeError, match="ig_mean needs baselines"):
        next(scores_by(made.engine, targets, method("ig_mean"), path, made.source.tokenizer))


# ---- contrasts


@pytest.mark.parametrize(
    ("kind", "full"), [("gpt2", False), ("llama", False), ("bert", False), ("gpt2", True)]
)
def test_contrast_is_the_gradient_of_the_difference(
    study: Callable[..., Extraction], minimal_pairs: Any, plain: Any, close: Any, kind: str, full: bool
) -> None:
    facts: FactSet = minimal_pairs(" of", " Kenya is")  # of one token as the good one is, and of several
    contrast, good, bad = (
        study(kind, facts, target=target, methods="ig,amig", quadrature="gauss")
        for target in ("contrast", "good", "bad")
    )
    if full:
        vars(contrast)["engine"] = replace(contrast.engine, kind="full")
    found = {made.plan.target: made.extract(made.outline.units[0]) for made in (contrast, good, bad)}
    for name in found["good"].queries:  # what is asked of a query does not depend on what is attributed
        np.testing.assert_array_equal(found["contrast"].queries[name], found["good"].queries[name])
        np.testing.assert_array_equal(found["bad"].queries[name], found["good"].queries[name])
    own = contrast.asking.asked[0][0].targets[0]
    other = bad.source.encoder().ask(facts.facts[0].queries[0], " of", ignore_tail=True)
    assert not isinstance(other, str)
    assert len(contrast.asking.asked[1][0].targets) == 1
    one_prompt = plain(
        contrast.loaded.model,
        list(contrast.loaded.sites.downs),
        replace(own, against=other.targets[0].token),
    )
    tokenizer = contrast.source.tokenizer
    token = tokenizer.mask_token_id if kind == "bert" else tokenizer.eos_token_id
    expected = one_prompt.by_definition(quadrature("gauss", 2), token, set(tokenizer.all_special_ids))
    for number, name in enumerate(contrast.plan.methods):
        close(found["contrast"].attribution[number, 0], expected[name][0])
        np.testing.assert_allclose(
            found["contrast"].completeness_gap[number, 0], expected[name][1], rtol=1e-5, atol=1e-7
        )
    # linear in P: also where the two differ in their number of tokens; RMSNorm computes in float32 even then
    rounding = 1e-6 if kind == "llama" else 1e-10
    difference = found["good"].attribution[0] - found["bad"].attribution[0]
    close(found["contrast"].attribution[0], torch.as_tensor(difference), rounding)
    gradient = found["good"].gradient - found["bad"].gradient
    close(found["contrast"].gradient, torch.as_tensor(gradient), rounding)
    both = found["good"].activation + found["bad"].activation
    close(found["contrast"].activation, torch.as_tensor(both) / 2, rounding)


def test_facts_keep_their_answer_beside_pairs(
    tiny: Callable[[str], Any], study: Callable[..., Extraction], minimal_pairs: Any, close: Any
) -> None:
    own = tiny("gpt2").facts
    mixed = replace(own, facts=(*own.facts, *minimal_pairs(" of").facts))
    good, contrast = (study("gpt2", mixed, target=target, methods="ig") for target in ("good", "contrast"))
    blocks = [made.extract(made.outline.units[0]) for made in (good, contrast)]
    close(blocks[1].attribution[:, :-1], torch.as_tensor(blocks[0].attribution[:, :-1]))
    assert np.abs(blocks[1].attribution[:, -1] - blocks[0].attribution[:, -1]).max() > 1e-6


def test_a_target_of_pairs_is_refused_without_any(fresh_study: Callable[..., Extraction]) -> None:
    made = fresh_study("gpt2", target="contrast")
    with pytest.raises(InputError) as caught:
        _ = made.outline
    assert str(caught.value) == (
        "target is 'contrast'; expected 'good' where embedded holds no minimal pair, the only facts with a bad "
        "continuation. At qloc extract --target. Leave it out."
    )


# ---- users' own


def test_a_users_method_is_one_function(
    study: Callable[..., Extraction], close: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def on_mean(found):\n    return found.step * found.gradient\non_mean.path = 'mean'\n"
    (tmp_path / "own_methods.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    made = study("gpt2", methods="sig,own_methods:on_mean")
    block = made.extract(made.outline.units[0])
    assert np.isnan(block.completeness_gap[1]).all()
    again = study("gpt2", methods="sig", steps=1, quadrature="right")  # its one node is w̄
    close(block.attribution[1], torch.as_tensor(again.extract(again.outline.units[0]).attribution[0]))
    before = made.fingerprint["parameters"]["method_sources"]
    register("own_methods:on_mean", lambda found: found.step)
    assert made.plan.signal_parameters()["method_sources"] != before
    assert "method_sources" not in plan_from().signal_parameters()


def test_a_users_method_of_another_shape_is_refused(study: Callable[..., Extraction]) -> None:
    register("flat", lambda found: found.step.sum(-1))
    made = study("gpt2", methods="flat")
    with pytest.raises(
        InputError, match=r"^attribution method is 'flat'; expected a tensor of scores of the activations'"
    ):
        made.extract(made.outline.units[0])
