"""Every attribution method against its definition: autograd on the plain model, one path and node at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qloc.errors import InputError
from qloc.extract.attribution.baselines import Replacing, baselines
from qloc.extract.attribution.path_integrals import MOST_DOUBLINGS, PathIntegral, ScaledPath, integrals
from qloc.extract.attribution.quadrature import clenshaw_curtis, quadrature
from qloc.extract.attribution.scores import scores_from_baselines
from qloc.extract.models.loading import source
from qloc.extract.prompts.tokenizing import Target
from qloc.extract.signals.extraction import Extraction
from qloc.facts import Fact, FactSet, Query
from qloc.methods import BUILT_IN, method, register
from qloc.plan import Plan, plan_from

KINDS = ("gpt2", "llama", "bert")
ACTIVATION = {"gpt2": "mlp.act", "llama": "mlp.act_fn", "bert": "intermediate.intermediate_act_fn"}
METHODS = "ig,amig,amig_as_coded,sig,grad_x_act"

# float64 rounding over three layers; a mean of baselines and a norm are sums of other orders
TOLERANCE = 1e-10


def extraction(tiny: Any, facts: FactSet | None = None, **plan: Any) -> Extraction:
    chosen = {"methods": METHODS, "steps": 2, "dtype": "float64", **plan}
    return Extraction(Plan(model=str(tiny.folder), **chosen), source(str(tiny.folder)), facts or tiny.facts)


@dataclass
class Plain:
    """One prompt through the plain model, the input of one module a layer read or replaced."""

    model: Any
    modules: list[Any]
    target: Target

    def vectors(self, ids: tuple[int, ...] | None = None) -> Tensor:
        """(layer, neuron) at the target position."""
        kept: list[Tensor] = []
        handles = [
            module.register_forward_pre_hook(lambda _, args: kept.append(args[0][0, self.target.position]))
            for module in self.modules
        ]
        with torch.no_grad():
            self.model(input_ids=torch.tensor([ids or self.target.ids]))
        for handle in handles:
            handle.remove()
        return torch.stack(kept)

    def probability(self, layer: int, vector: Tensor) -> Tensor:
        def put(_: Any, args: Any) -> Any:
            changed = args[0].clone()
            changed[0, self.target.position] = vector
            return (changed, *args[1:])

        handle = self.modules[layer].register_forward_pre_hook(put)
        logits = self.model(input_ids=torch.tensor([self.target.ids])).logits[0, self.target.position]
        handle.remove()
        shares = logits.softmax(-1)
        less = 0 if self.target.against is None else shares[self.target.against]
        return shares[self.target.token] - less

    def gradients(self, start: Tensor, rule: Any) -> Tensor:
        """∫∇P along start → w̄, (layer, neuron)."""
        end, rows = self.vectors(), []
        for layer in range(len(self.modules)):
            total = torch.zeros_like(end[layer])
            for alpha, weight in zip(rule.nodes, rule.weights, strict=True):
                leaf = (start[layer] + alpha * (end[layer] - start[layer])).requires_grad_(True)
                total += weight * torch.autograd.grad(self.probability(layer, leaf), leaf)[0]
            rows.append(total)
        return torch.stack(rows)

    def changes(self, start: Tensor) -> Tensor:
        """P(w̄) − P(start), (layer,)."""
        end = self.vectors()
        with torch.no_grad():
            both = [
                [self.probability(layer, v[layer]) for v in (end, start)]
                for layer in range(len(self.modules))
            ]
        return torch.stack([at_end - at_start for at_end, at_start in both])


def replaced(target: Target, token: int, specials: set[int]) -> list[tuple[int, ...]]:
    return [
        tuple(token if n == place else id for n, id in enumerate(target.ids))
        for place, old in enumerate(target.ids)
        if old not in specials
    ]


def gap(attribution: Tensor, change: Tensor) -> Tensor:
    largest = torch.maximum(attribution.abs().sum(-1), change.abs())
    return (attribution.sum(-1) - change).abs() / largest


def by_definition(
    plain: Plain, rule: Any, token: int, specials: set[int]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Each method's scores and gap, (layer, neuron) and (layer,), straight from methods.md §3."""
    w = plain.vectors()
    starts = [plain.vectors(ids) for ids in replaced(plain.target, token, specials)]
    mean, undefined = torch.stack(starts).mean(0), torch.full((len(w),), torch.nan)
    zero, each = torch.zeros_like(w), [(w - b) * plain.gradients(b, rule) for b in starts]
    ig, on_mean = w * plain.gradients(zero, rule), plain.gradients(mean, rule)
    amig, coded, sig = sum(each), w * on_mean, (w - mean) * on_mean
    one = quadrature("right", 1)  # its only node is α = 1
    return {
        "ig": (ig, gap(ig, plain.changes(zero))),
        "amig": (amig / amig.norm(), gap(amig, sum(plain.changes(b) for b in starts))),
        "amig_as_coded": (coded / coded.norm(), undefined),
        "sig": (sig, gap(sig, plain.changes(mean))),
        "grad_x_act": (w * plain.gradients(zero, one), undefined),
    }


def close(ours: Any, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    scale = float(expected.abs().max())
    torch.testing.assert_close(torch.as_tensor(ours), expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_is_its_definition(tiny: Callable[[str], Any], kind: str) -> None:
    study = extraction(tiny(kind), quadrature="gauss")
    block, tokenizer = study.extract(study.outline.units[0]), study.source.tokenizer
    token = tokenizer.mask_token_id if kind == "bert" else tokenizer.eos_token_id
    rule, loaded = quadrature("gauss", 2), study.loaded
    asked = [one for of_fact in study.asking.asked for one in of_fact]
    lengths = {len(one.targets[0].ids) for one in asked}
    assert len(lengths) > 1
    assert max(len(one.targets) for one in asked) > 1
    several = max(range(len(asked)), key=lambda query: len(asked[query].targets))
    for query in (0, several):
        each = [
            by_definition(
                Plain(loaded.model, list(loaded.sites.downs), target),
                rule,
                token,
                set(tokenizer.all_special_ids),
            )
            for target in asked[query].targets[:3]
        ]
        if (
            len(asked[query].targets) > 3
        ):  # a long answer: its first token says enough, and the mean is tested
            study_first = extraction(tiny(kind), quadrature="gauss", answer_tokens="first")
            block, each = study_first.extract(study_first.outline.units[0]), each[:1]
        for number, name in enumerate(study.plan.methods):
            close(block.attribution[number, query], sum(found[name][0] for found in each) / len(each))
            worst = torch.stack([found[name][1] for found in each]).max(0).values
            # the gap is kept as float32
            np.testing.assert_allclose(block.completeness_gap[number, query], worst, rtol=1e-5, atol=1e-7)


def test_the_mean_over_answer_tokens_is_taken_after_normalizing(tiny: Callable[[str], Any]) -> None:
    study = extraction(tiny("gpt2"), methods="amig")
    asked = study.asking.asked[2][0]
    whole = study.extract(study.outline.units[0]).attribution[0, 5]
    replacing = Replacing.of(study.source.tokenizer, "causal")
    rows = {}
    for _, indices, found in scores_from_baselines(
        study.engine, asked.targets, [method("amig")], ScaledPath.of(quadrature("midpoint", 2)), replacing
    ):
        rows |= dict(zip(indices, found.attribution, strict=True))
    each = torch.stack([rows[n] for n in range(len(asked.targets))])
    assert len(each) > 1
    torch.testing.assert_close(each.flatten(1).norm(dim=1), torch.ones(len(each)).double())
    close(whole, each.mean(0))


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_in_a_batch_are_those_of_single_prompts(tiny: Callable[[str], Any], kind: str) -> None:
    study = extraction(tiny(kind))
    targets = [target for of_fact in study.asking.asked for one in of_fact for target in one.targets][::4]
    replacing = Replacing.of(study.source.tokenizer, study.source.family)
    together = baselines(study.engine, targets, replacing)
    tight = baselines(replace(study.engine, memory=50_000), targets, replacing)
    for target, found, other in zip(targets, together, tight, strict=True):
        plain = Plain(study.loaded.model, list(study.loaded.sites.downs), target)
        specials = set(study.source.tokenizer.all_special_ids)
        alone = [plain.vectors(ids) for ids in replaced(target, replacing.token, specials)]
        close(found, torch.stack(alone))
        close(other, torch.stack(alone))


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_scores_do_not_depend_on_neighbors_or_memory(tiny: Callable[[str], Any], kind: str) -> None:
    plan = {
        "methods": "ig,amig,sig",
        "quadrature": "adaptive",
        "gap_tolerance": 1e-4,
        "answer_tokens": "first",
    }
    study = extraction(tiny(kind), **plan)
    whole = study.extract(study.outline.units[0])
    apart = extraction(tiny(kind), **plan, unit_facts=1, memory=10**6)
    found = [apart.extract(unit) for unit in apart.outline.units]
    for name in ("attribution", "completeness_gap"):
        other = np.concatenate([getattr(block, name) for block in found], axis=1)
        np.testing.assert_allclose(other, getattr(whole, name), rtol=0, atol=1e-9)


def test_methods_asked_together_are_those_asked_alone(tiny: Callable[[str], Any]) -> None:
    together = extraction(tiny("gpt2"), answer_tokens="first")
    block = together.extract(together.outline.units[0])
    for number, one in enumerate(together.plan.methods):
        alone = extraction(tiny("gpt2"), methods=one, answer_tokens="first")
        found = alone.extract(alone.outline.units[0])
        np.testing.assert_allclose(found.attribution[0], block.attribution[number], rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.gradient, block.gradient, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(found.queries["top_token_id"], block.queries["top_token_id"])


def test_what_is_replaced() -> None:
    class Tokenizer:
        mask_token_id, eos_token_id, unk_token_id, pad_token_id = 4, 2, 3, 0
        bos_token_id = sep_token_id = cls_token_id = None
        all_special_ids = (0, 2, 3, 4)

    masked = Replacing.of(Tokenizer(), "masked")
    assert [variant.ids for variant in masked.variants(Target(ids=(2, 3, 4, 9), position=2, token=1))] == [
        (2, 4, 4, 9),  # an unknown word is a word
        (2, 3, 4, 4),
    ]
    assert Replacing.of(Tokenizer(), "causal").token == 2
    one_for_all = Tokenizer()
    one_for_all.unk_token_id = 2  # GPT-2's unknown word is its end of sequence
    assert 2 in Replacing.of(one_for_all, "causal").kept


def test_a_tokenizer_without_an_end_is_refused_by_amig_alone(tiny: Callable[[str], Any]) -> None:
    for methods in ("ig", "sig"):
        study = extraction(tiny("gpt2"), methods=methods)
        study.source.tokenizer.eos_token = None
        if methods == "ig":
            assert study.outline.methods == ("ig",)
            continue
        with pytest.raises(InputError) as caught:
            _ = study.outline
        assert str(caught.value) == (
            "tokenizer is 'TokenizersBackend'; expected one with an end-of-sequence token, which amig and "
            "sig put in place of prompt tokens. At the model's tokenizer. Set its eos_token, or leave amig and "
            "sig out."
        )


def test_a_prompt_of_special_tokens_has_no_baseline(tiny: Callable[[str], Any]) -> None:
    query = Query(template="t", text="</s>[Y]")
    facts = FactSet(
        source="t", facts=(Fact(id="a", relation="r", subject="s", object=" Paris", queries=(query,)),)
    )
    study = extraction(tiny("gpt2"), facts, methods="amig", answer_tokens="first")
    with pytest.raises(InputError) as caught:
        _ = study.outline
    assert str(caught.value) == (
        "prompt is '</s>[Y]'; expected at least one token that is not special, for amig and sig. At facts. Leave "
        "it out, or these methods."
    )


# ---- nodes where they are needed


@pytest.fixture
def steep(tiny: Callable[[str], Any]) -> Extraction:
    return extraction(tiny("gpt2"), methods="ig", quadrature="adaptive", steps=1, gap_tolerance=1e-4)


def _integral(study: Extraction, targets: list[Target], path: ScaledPath) -> PathIntegral:
    parts = list(integrals(study.engine, targets, path))
    order = torch.tensor([index for indices, _ in parts for index in indices]).argsort()
    return PathIntegral(
        **{
            name: torch.cat([getattr(found, name) for _, found in parts])[order]
            for name in PathIntegral.__dataclass_fields__
        }
    )


def test_doubled_nodes_give_the_rule_of_as_many(steep: Extraction) -> None:
    targets = [one.targets[0] for of_fact in steep.asking.asked for one in of_fact]
    found = _integral(steep, targets, ScaledPath.doubling(1, 1e-4))
    counts = sorted(set(found.n_nodes.flatten().tolist()))
    assert len(counts) > 1  # some layers were doubled, others not
    assert set(counts) <= {2**level for level in range(MOST_DOUBLINGS + 1)}
    gaps = gap(found.step * found.mean_gradient, found.change)
    assert bool((gaps[found.n_nodes < 2**MOST_DOUBLINGS] <= 1e-4).all())
    for count in counts:
        fixed = _integral(steep, targets, ScaledPath.of(clenshaw_curtis(count)))
        there = found.n_nodes == count
        torch.testing.assert_close(found.mean_gradient[there], fixed.mean_gradient[there], rtol=0, atol=1e-12)
        if count > 1:  # nowhere more than was needed
            halved = _integral(steep, targets, ScaledPath.of(clenshaw_curtis(count // 2)))
            before = gap(halved.step * halved.mean_gradient, halved.change)
            assert bool((before[there] > 1e-4).all())


def test_every_way_doubles_alike(steep: Extraction) -> None:
    targets = [one.targets[0] for of_fact in steep.asking.asked for one in of_fact][:3]
    path = ScaledPath.doubling(1, 1e-4)
    grown = _integral(steep, targets, path)
    object.__setattr__(steep, "engine", replace(steep.engine, kind="full"))
    full = _integral(steep, targets, path)
    assert torch.equal(grown.n_nodes, full.n_nodes)
    torch.testing.assert_close(grown.mean_gradient, full.mean_gradient, rtol=0, atol=1e-11)


def test_adaptive_starts_with_eight_nodes_and_its_tolerance_is_in_the_fingerprint() -> None:
    assert plan_from(None, {"quadrature": "adaptive"}).steps == 8
    assert plan_from(None, {"quadrature": "adaptive", "steps": 5}).steps == 5
    assert plan_from(None, {"quadrature": "gauss"}).steps == 20
    adaptive = plan_from(None, {"quadrature": "adaptive"}).signal_parameters()
    assert adaptive["gap_tolerance"] == 0.002
    assert "gap_tolerance" not in plan_from().signal_parameters()


# ---- minimal pairs


def pairs(*bad: str) -> FactSet:
    query = Query(template="t", text="The capital of France[Y] now")
    return FactSet(
        source="t",
        facts=tuple(
            Fact(
                id=str(n),
                relation="r",
                subject="",
                object=" is",
                bad=other,
                kind="minimal_pair",
                queries=(query,),
            )
            for n, other in enumerate(bad)
        ),
    )


@pytest.mark.parametrize(
    ("kind", "full"), [("gpt2", False), ("llama", False), ("bert", False), ("gpt2", True)]
)
def test_contrast_is_the_gradient_of_the_difference(
    tiny: Callable[[str], Any], kind: str, full: bool
) -> None:
    facts = pairs(" of", " Kenya is")  # of one token as the good one is, and of several
    contrast, good, bad = (
        extraction(tiny(kind), facts, target=target, methods="ig,amig", quadrature="gauss")
        for target in ("contrast", "good", "bad")
    )
    if full:
        object.__setattr__(contrast, "engine", replace(contrast.engine, kind="full"))
    found = {study.plan.target: study.extract(study.outline.units[0]) for study in (contrast, good, bad)}
    for name in found["good"].queries:  # what is asked of a query does not depend on what is attributed
        np.testing.assert_array_equal(found["contrast"].queries[name], found["good"].queries[name])
        np.testing.assert_array_equal(found["bad"].queries[name], found["good"].queries[name])
    own, other = (
        contrast.asking.asked[0][0].targets[0],
        bad.source.encoder().ask(facts.facts[0].queries[0], " of", ignore_tail=True),
    )
    assert not isinstance(other, str)
    assert len(contrast.asking.asked[1][0].targets) == 1
    plain = Plain(
        contrast.loaded.model,
        list(contrast.loaded.sites.downs),
        replace(own, against=other.targets[0].token),
    )
    tokenizer = contrast.source.tokenizer
    token = tokenizer.mask_token_id if kind == "bert" else tokenizer.eos_token_id
    expected = by_definition(plain, quadrature("gauss", 2), token, set(tokenizer.all_special_ids))
    for number, name in enumerate(contrast.plan.methods):
        close(found["contrast"].attribution[number, 0], expected[name][0])
        np.testing.assert_allclose(
            found["contrast"].completeness_gap[number, 0], expected[name][1], rtol=1e-5, atol=1e-7
        )
    # linear in P: also where the two differ in their number of tokens; RMSNorm computes in float32 even then
    rounding = 1e-6 if kind == "llama" else TOLERANCE
    difference = found["good"].attribution[0] - found["bad"].attribution[0]
    close(found["contrast"].attribution[0], torch.as_tensor(difference), rounding)
    gradient = found["good"].gradient - found["bad"].gradient
    close(found["contrast"].gradient, torch.as_tensor(gradient), rounding)
    both = found["good"].activation + found["bad"].activation
    close(found["contrast"].activation, torch.as_tensor(both) / 2, rounding)


def test_facts_keep_their_answer_beside_pairs(tiny: Callable[[str], Any]) -> None:
    mixed = replace(tiny("gpt2").facts, facts=(*tiny("gpt2").facts.facts, *pairs(" of").facts))
    good, contrast = (
        extraction(tiny("gpt2"), mixed, target=target, methods="ig") for target in ("good", "contrast")
    )
    blocks = [study.extract(study.outline.units[0]) for study in (good, contrast)]
    close(blocks[1].attribution[:, :-1], torch.as_tensor(blocks[0].attribution[:, :-1]))
    assert np.abs(blocks[1].attribution[:, -1] - blocks[0].attribution[:, -1]).max() > 1e-6


def test_a_target_of_pairs_is_refused_without_any(tiny: Callable[[str], Any]) -> None:
    study = extraction(tiny("gpt2"), target="contrast")
    with pytest.raises(InputError) as caught:
        _ = study.outline
    assert str(caught.value) == (
        "target is 'contrast'; expected 'good' where embedded holds no minimal pair, the only facts with a bad "
        "continuation. At qloc extract --target. Leave it out."
    )


# ---- the peers' site


@pytest.mark.parametrize("kind", KINDS)
def test_before_the_activation_function(tiny: Callable[[str], Any], kind: str) -> None:
    study = extraction(tiny(kind), site="mlp_pre", quadrature="gauss", answer_tokens="first")
    block, loaded, tokenizer = study.extract(study.outline.units[0]), study.loaded, study.source.tokenizer
    acts = [layer.get_submodule(ACTIVATION[kind]) for layer in loaded.sites.blocks]
    assert list(study.engine.inputs) == acts
    assert (study.outline.attrs["site"], study.fingerprint["parameters"]["site"]) == ("mlp_pre", "mlp_pre")
    token = tokenizer.mask_token_id if kind == "bert" else tokenizer.eos_token_id
    target = study.asking.asked[1][0].targets[0]
    plain = Plain(loaded.model, acts, target)
    expected = by_definition(plain, quadrature("gauss", 2), token, set(tokenizer.all_special_ids))
    close(block.activation[3], plain.vectors())
    for number, name in enumerate(study.plan.methods):
        close(block.attribution[number, 3], expected[name][0])
        np.testing.assert_allclose(block.completeness_gap[number, 3], expected[name][1], rtol=1e-5, atol=1e-7)


def test_a_site_that_cannot_be_found_is_refused_by_name(tiny: Callable[[str], Any]) -> None:
    refusal = (
        "model type is 'gpt2 at site mlp_pre'; expected one whose blocks call one activation function f, as a "
        "module, and then the down-projection of f(z) ⊙ u. At qloc extract --site. Use --site mlp_post."
    )

    for broken in ("two functions", "a sum"):
        study = extraction(tiny("gpt2"), site="mlp_pre")
        mlp = study.loaded.sites.blocks[1].mlp
        if broken == "two functions":
            mlp.act = torch.nn.Sequential(torch.nn.GELU(), torch.nn.Tanh())
        else:
            mlp.c_proj.register_forward_pre_hook(lambda _, args: (args[0] + 0.5,))
        with pytest.raises(InputError) as caught:
            _ = study.engine
        assert str(caught.value) == refusal


# ---- users' own


def test_a_users_method_is_one_function(
    tiny: Callable[[str], Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def on_mean(found):\n    return found.step * found.gradient\non_mean.path = 'mean'\n"
    (tmp_path / "own_methods.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    study = extraction(tiny("gpt2"), methods="sig,own_methods:on_mean")
    block = study.extract(study.outline.units[0])
    assert np.isnan(block.completeness_gap[1]).all()
    again = extraction(tiny("gpt2"), methods="sig", steps=1, quadrature="right")  # its one node is w̄
    close(block.attribution[1], torch.as_tensor(again.extract(again.outline.units[0]).attribution[0]))
    before = study.fingerprint["parameters"]["method_sources"]
    register("own_methods:on_mean", lambda found: found.step)
    assert study.plan.signal_parameters()["method_sources"] != before
    assert "method_sources" not in plan_from().signal_parameters()


def test_a_users_method_of_another_shape_is_refused(tiny: Callable[[str], Any]) -> None:
    register("flat", lambda found: found.step.sum(-1))
    study = extraction(tiny("gpt2"), methods="flat")
    with pytest.raises(
        InputError, match=r"^attribution method is 'flat'; expected scores of the activations'"
    ):
        study.extract(study.outline.units[0])


def test_qlocs_own_methods_are_not_replaced() -> None:
    for one in BUILT_IN:
        with pytest.raises(InputError, match="another name than those of qloc's own methods"):
            register(one.name, one.score)


@pytest.mark.parametrize("name", ["igg", "no_module:f", "math:nothing"])
def test_unknown_methods_are_refused_in_the_plan(name: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_from(None, {"methods": f"ig,{name}"})
    (problem,) = caught.value.problems
    assert f"; {name!r} is none. At flag --methods. Correct it." in problem


def test_every_method_has_its_references() -> None:
    from qloc.cli.cite import REFERENCES
    from qloc.store.writing.card import _SOURCES

    for one in BUILT_IN:
        assert any("arXiv" in line for line in REFERENCES[one.name])
        assert "arXiv" in _SOURCES[one.name]


def test_what_is_before_the_activation_is_not_intervened_on() -> None:
    with pytest.raises(InputError) as caught:
        plan_from(None, {"site": "mlp_pre", "phases": "signals,interventions"})
    assert caught.value.problems == (
        "phases is 'signals,interventions'; expected signals alone where site is mlp_pre: other phases change what "
        "mlp_post reads. At flag --phases. Correct it.",
    )
