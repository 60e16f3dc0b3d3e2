"""ROME against plain computations: subject, key, second moment, value, the closed form, and what comes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from qloc.arms import EditArms
from qloc.block import Unit
from qloc.extract.edits.phase import prepare
from qloc.extract.edits.rank_one import rank_one
from qloc.extract.edits.rome import ROME, ROME_IDENTITY, Rome
from qloc.extract.edits.rome_contexts import _drawn, own_words
from qloc.extract.edits.rome_covariance import SecondMoment, keys_of
from qloc.extract.edits.rome_value import ValueSearch
from qloc.extract.models.hooks import without_head
from qloc.extract.models.loading import source
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.passes.weight_changes import edited
from qloc.extract.prompts.held_out_text import pieces
from qloc.extract.prompts.subject_position import subject_token
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.extract.signals.extraction import Extraction
from qloc.extract.signals.extraction import prepare as prepare_extraction
from qloc.facts import Query
from qloc.phase_plan import EditPlan, RomePlan
from qloc.plan import Plan

TEXT = "The capital of France is Paris. Kenya's capital, Nairobi. A cat sits. Peru's capital city is Lima ."
KINDS = ("gpt2", "llama", "bert")


def _rome(tiny: Any, kind: str, **given: Any) -> Rome:
    found = source(str(tiny(kind).folder))
    loaded, encoder = found.load(dtype="float64", device="cpu"), found.encoder()
    engine = RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
    sample = list(pieces(encoder.tokenizer, encoder.family, TEXT, 60, 16))
    plan = RomePlan(**{"prefixes": 2, "prefix_tokens": 3, "weight_decay": 0.0, **given})
    return Rome(engine=engine, encoder=encoder, plan=plan, sample=sample, seed=3)


def _asked(
    rome: Rome, text: str = "The capital of France is [Y].", answer: str = "Ouagadougou"
) -> TokenizedQuery:
    asked = rome.encoder.ask(Query(template="t", text=text), answer)
    assert isinstance(asked, TokenizedQuery)
    return asked


def _search(rome: Rome, **plan: Any) -> ValueSearch:
    search = rome.search("France", _asked(rome), "Paris")
    assert search is not None
    return replace(search, plan=search.plan.model_copy(update=plan))


# The subject


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
@pytest.mark.parametrize(
    ("text", "subject", "before"),
    [
        ("The capital of France is [Y].", "France", "The capital of France"),
        ("France, or La France: its capital is [Y].", "France", "France, or La France"),
        ("Francesca sits in France. It is [Y].", "France", "Francesca sits in France"),
        ("Francesca's city is [Y].", "France", "France"),
        ("The capital of Côte d'Ivoire, [Y].", "Côte d'Ivoire", "The capital of Côte d'Ivoire"),
    ],
)
def test_the_subjects_last_token(tiny: Any, kind: str, text: str, subject: str, before: str) -> None:
    """The first token with which the text up to there has the subject's last mention in it."""
    encoder: Encoder = source(str(tiny(kind).folder)).encoder()
    asked = encoder.ask(Query(template="t", text=text), "Paris")
    assert isinstance(asked, TokenizedQuery)
    place = subject_token(encoder, asked, subject)
    assert place is not None
    ids = encoder.tokenizer(text.replace("[Y]", "Paris"))["input_ids"]
    read = [encoder.tokenizer.decode(ids[: n + 1], skip_special_tokens=True) for n in (place - 1, place)]
    assert before in read[1]
    assert before not in read[0]
    assert asked.targets[0].ids[place] == ids[place]


def test_a_subject_that_is_not_read_has_no_token(tiny: Any) -> None:
    for kind in ("gpt2", "bert"):
        encoder: Encoder = source(str(tiny(kind).folder)).encoder()
        for text, subject in (("[Y] sits.", "Peru"), ("A cat sits, [Y].", "")):
            asked = encoder.ask(Query(template="t", text=text), "Paris")
            assert isinstance(asked, str) or subject_token(encoder, asked, subject) is None
    asked = encoder.ask(Query(template="t", text="[Y] is the capital of Peru."), "Paris")
    assert isinstance(asked, TokenizedQuery)  # masked: what stands behind the answer is read as well
    place = subject_token(encoder, asked, "Peru")
    assert place is not None
    assert "Peru" in encoder.tokenizer.decode(asked.targets[0].ids[: place + 1])


# Prefixes


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_own_words_are_drawn_once_and_for_all(tiny: Any, kind: str) -> None:
    rome = _rome(tiny, kind)
    first, again, other = (own_words(rome.engine, rome.encoder, 3, 4, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert 1 <= len(first) <= 3
    assert own_words(rome.engine, rome.encoder, 0, 4, 1) == ()
    assert rome.prefixes[0] == ""
    assert all(prefix.endswith(". ") for prefix in rome.prefixes[1:])


def test_words_are_drawn_by_probability_among_the_likeliest() -> None:
    """20,000 draws: a share's standard error is at most 0.0035."""
    logits = torch.tensor([[0.0, 2.0, -9.0, 1.0, 1.5, 0.5, -1.0]])
    drawn = _drawn(logits.repeat(20_000, 1), np.random.default_rng(0))
    share = torch.bincount(drawn, minlength=7) / 20_000
    kept = torch.tensor([0, 1, 3, 4, 5])
    assert share[[2, 6]].sum() == 0
    torch.testing.assert_close(share[kept], logits[0, kept].softmax(0), atol=0.015, rtol=0)


# The second moment


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_moment_by_brute_force(tiny: Any, kind: str) -> None:
    """C made key by key, and solved as it is: 1e-9 relative in float64."""
    rome = _rome(tiny, kind)
    down, kept = rome.engine.sites.downs[1], list[torch.Tensor]()
    handle = down.register_forward_pre_hook(lambda _, args: kept.append(args[0].reshape(-1, 72)))
    moment, n = torch.zeros(72, 72, dtype=torch.float64), 0
    with torch.no_grad():
        for piece in rome.sample:
            rome.engine.model(input_ids=torch.tensor([piece.ids]))
            for place in range(len(piece.before), len(piece.ids) - len(piece.after)):
                moment += torch.outer(kept[-1][place], kept[-1][place])
                n += 1
    handle.remove()
    moment /= n
    assert n == len(keys_of(rome.engine, 1, rome.sample)) > 20
    moment += 0.1 * moment.diagonal().mean() * torch.eye(72, dtype=torch.float64)
    key = torch.randn(72, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert rome.layer == 1
    torch.testing.assert_close(rome.moment.solve(key), torch.linalg.solve(moment, key), rtol=1e-9, atol=1e-9)


# The closed form


@pytest.mark.parametrize("module", [nn.Linear(6, 4), nn.Linear(6, 4, bias=False), Conv1D(4, 6)])
def test_of_all_weights_that_give_the_value_other_keys_are_moved_least(module: nn.Module) -> None:
    """The constrained least squares' own equations (Karush, Kuhn, Tucker), solved row by row."""
    down, made = module.double(), torch.Generator().manual_seed(1)
    keys, key, value = (
        torch.randn(*size, generator=made, dtype=torch.float64) for size in ((9, 6), (6,), (4,))
    )
    identity = torch.eye(6, dtype=torch.float64)
    with torch.no_grad():
        bias = down(torch.zeros(1, 6, dtype=torch.float64))[0]
        weight = (down(identity) - bias).T
        for moment in (SecondMoment(keys=keys, ridge=0.2), None):
            against = key if moment is None else moment.solve(key)
            edit = rank_one(down, 2, key=key, against=against, value=value)
            new = weight + torch.outer(edit.change, edit.direction)
            torch.testing.assert_close(new @ key + bias, value, rtol=1e-12, atol=1e-12)
            c = keys.T @ keys / 9
            c = identity if moment is None else c + 0.2 * c.diagonal().mean() * identity
            system = torch.zeros(7, 7, dtype=torch.float64)
            system[:6, :6], system[:6, 6], system[6, :6] = c, key, key
            right = torch.cat([c @ weight.T, (value - bias)[None]])
            torch.testing.assert_close(new, torch.linalg.solve(system, right)[:6].T, rtol=1e-9, atol=1e-9)
            added = edit.at(2)
            assert edit.at(1) is None
            assert added is not None
            torch.testing.assert_close(down(keys) + added(keys), keys @ new.T + bias, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_the_model_with_the_weight_changed(tiny: Any, kind: str) -> None:
    """Final hidden states in float64; LLaMA's norms compute in float32, hence 1e-4 there."""
    rome = _rome(tiny, kind)
    asked, tol = _asked(rome), 1e-4 if kind == "llama" else 1e-9
    edit = rome.edits((ROME,), "France", asked, "Paris")[ROME]
    model, sites = rome.engine.model, rome.engine.sites
    ids = torch.tensor([asked.targets[0].ids] * 3)
    with torch.no_grad(), without_head(sites.head) as given:
        model(input_ids=ids[:1])
        with edited(sites, [None, edit], [1, 0, 1]):
            model(input_ids=ids)
        weight, change = sites.downs[edit.layer].weight, torch.outer(edit.change, edit.direction)
        before = weight.clone()
        weight += change.T if kind == "gpt2" else change
        model(input_ids=ids[:1])
        weight.copy_(before)
    unchanged, rows, changed = given
    for row, expected in zip(rows, (changed, unchanged, changed), strict=True):
        torch.testing.assert_close(row, expected[0], rtol=tol, atol=tol)
    assert (changed - unchanged).abs().max() > 0.01


# The value


def _plain_loss(search: ValueSearch, value: torch.Tensor) -> torch.Tensor:
    """L by the model as a user calls it: a prompt at a time, its own logits, one hook."""
    model, down = search.engine.model, search.engine.sites.downs[search.layer]

    def logs(prompt: Any, position: int, changed: bool) -> torch.Tensor:
        def write(_: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
            new = output.clone()
            new[0, prompt.subject] = value
            return new

        handle = down.register_forward_hook(write) if changed else None
        out = model(input_ids=torch.tensor([prompt.asked.targets[-1].ids])).logits[0, position]
        if handle:
            handle.remove()
        return out.log_softmax(0)

    terms = [-logs(p, t.position, True)[t.token] for p in search.prompts for t in p.asked.targets]
    last = search.essence.asked.targets[0].position
    new, old = (logs(search.essence, last, changed) for changed in (True, False))
    kl = (new.exp() * (new - old.detach())).sum()
    decay = (value - search.start).norm() / search.start.norm() ** 2
    plan = search.plan
    return torch.stack(terms).mean() + plan.kl * kl + plan.weight_decay * decay


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_loss_and_gradient_by_brute_force(tiny: Any, kind: str) -> None:
    """float64, an answer of several tokens, prompts of several lengths, in one batch and one by one."""
    search = _search(_rome(tiny, kind), kl=0.7, weight_decay=0.5)
    assert len({len(prompt.asked.targets[-1].ids) for prompt in (*search.prompts, search.essence)}) > 1
    assert len(search.prompts[0].asked.targets) > 1
    made = torch.Generator().manual_seed(2)
    delta = (0.3 * torch.randn(32, generator=made, dtype=torch.float64)).requires_grad_(True)
    expected = _plain_loss(search, search.start + delta)
    (gradient,) = torch.autograd.grad(expected, delta)
    for memory in (10**9, 1):
        one = replace(search, engine=replace(search.engine, memory=memory))
        leaf = delta.detach().clone().requires_grad_(True)
        assert one.descend(leaf) == pytest.approx(float(expected.detach()), rel=1e-9)
        torch.testing.assert_close(leaf.grad, gradient, rtol=1e-8, atol=1e-10)


def test_start_is_what_the_layer_gives_at_the_mean_key(tiny: Any) -> None:
    search = _search(_rome(tiny, "gpt2"))
    down, seen = search.engine.sites.downs[search.layer], list[tuple[torch.Tensor, torch.Tensor]]()
    handle = down.register_forward_hook(lambda _, args, output: seen.append((args[0], output)))
    with torch.no_grad():
        for prompt in search.prompts:
            search.engine.model(input_ids=torch.tensor([prompt.asked.targets[0].ids]))
    handle.remove()
    places = [prompt.subject for prompt in search.prompts]
    keys, values = (
        torch.stack([one[n][0, place] for one, place in zip(seen, places, strict=True)]).mean(0)
        for n in (0, 1)
    )
    torch.testing.assert_close(search.key, keys, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(search.start, values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_within_the_clamp(tiny: Any, kind: str) -> None:
    """Random weights leave little to gain, of 5.7 nats 0.07 to 0.15; a step that is far too long loses none."""
    free, tight, wild = (
        _search(_rome(tiny, kind), clamp=clamp, rate=rate, steps=40)
        for clamp, rate in ((100.0, 0.3), (0.1, 0.01), (100.0, 1e4))
    )
    for search in (free, tight):
        found = search.best()
        size = (found.value - search.start).norm() / search.start.norm()
        before, after = (float(_plain_loss(search, value).detach()) for value in (search.start, found.value))
        assert after < before - (0.05 if search is free else 0.0)
        assert 0 < size <= search.plan.clamp * (1 + 1e-12)
    assert size > 0.09
    assert float(_plain_loss(wild, wild.best().value).detach()) <= float(
        _plain_loss(wild, wild.start).detach()
    )
    assert torch.equal(_search(_rome(tiny, kind), enough=1e9).best().value, free.start)


def test_nothing_is_left_behind_when_something_fails(tiny: Any) -> None:
    rome = _rome(tiny, "gpt2")
    calls = iter(range(100))

    def fail(*_: Any) -> None:
        if next(calls) == 5:
            raise ZeroDivisionError

    assert rome.prefixes
    handle = rome.engine.sites.downs[2].register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        rome.edits((ROME, ROME_IDENTITY), "France", _asked(rome), "Paris")
    handle.remove()
    assert not [m for m in rome.engine.model.modules() if m._forward_pre_hooks or m._forward_hooks]
    assert all(weight.grad is None for weight in rome.engine.model.parameters())


# On a model that knows facts

PART = EditPlan(
    method="ig",
    operations=("update",),
    sets=("rome", "rome_identity"),
    n_probes=4,
    greedy_tokens=0,
    text_tokens=32,
    rome=RomePlan(layer=0.0, prefixes=2),
)


def _extraction(kind: str) -> Extraction:
    return prepare_extraction(
        Plan(model=f"embedded:{kind}", facts="embedded", max_facts=4, threads=1, device="cpu")
    )


def _arms(extraction: Extraction, facts: list[int]) -> EditArms:
    """These facts are edited, each at a query that the model was trained on; o′ is another fact's object."""
    known, asked = extraction.facts.facts, extraction.asking.asked
    first = np.concatenate([[0], np.cumsum([len(queries) for queries in asked])])
    told, new = np.full(len(known), -1), [""] * len(known)
    for fact in facts:
        seen = str(known[fact].attributes["seen"]).split()
        told[fact] = first[fact] + [one.query.template in seen for one in asked[fact]].index(True)
        of = {one.object for one in known if one.relation == known[fact].relation} - {known[fact].object}
        new[fact] = min(of)
    probes = np.full((len(known), PART.n_probes), -1)
    probes[:, 0] = np.roll(first[:-1], 5)
    width = max(map(len, asked))
    return EditArms(
        sets={},
        edited_query=told,
        other_fact=np.full(len(known), -1),
        held_out=np.array([[0] * len(a) + [-1] * (width - len(a)) for a in asked], dtype=np.int8),
        new_object=tuple(new),
        probe_query=probes,
        probe_kind=np.full(probes.shape, "", dtype=object),
    )


def _edited_arrays(extraction: Extraction, facts: list[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    arms, n = _arms(extraction, facts), len(extraction.facts)
    first = np.concatenate([[0], np.cumsum([len(queries) for queries in extraction.asking.asked])])
    unit = Unit(number=0, first_fact=0, last_fact=n, first_query=0, last_query=int(first[-1]))
    arrays = dict(prepare(extraction, PART).extract(unit, arms).arrays)
    return arrays, arms.edited_query[facts] - first[facts]


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_an_edited_fact_is_answered_anew(kind: str) -> None:
    """Of eight facts six at least, and far more often than before; other facts are mostly left alone."""
    extraction = _extraction(kind)
    facts = [n for n, fact in enumerate(extraction.facts.facts) if fact.attributes.get("seen")][:8]
    arrays, told = _edited_arrays(extraction, facts)
    new, base = arrays["edits/new_rank"][0][:, facts, told], arrays["edits/base_new_rank"][facts, told]
    assert (base == 1).sum() <= 1
    for edit in range(2):
        assert (new[edit] == 1).sum() >= 6
        assert np.nanmedian(arrays["edits/probe_kl"][0, edit][facts]) < 0.2
        assert (arrays["edits/n_slots"][edit][facts] == 512).all()
    assert np.abs(arrays["edits/text_nats"][0, 0][facts]).max() < 0.5
    left = np.setdiff1d(np.arange(len(extraction.facts)), facts)
    assert (arrays["edits/n_slots"][:, left] == 0).all()


def test_another_process_would_make_the_same_edits() -> None:
    """Nothing kept, another fact first: the same bits."""
    first, second = _extraction("causal"), _extraction("causal")
    facts = [n for n, fact in enumerate(first.facts.facts) if fact.attributes.get("seen")]
    both, one = _edited_arrays(first, facts[:2])[0], _edited_arrays(second, facts[1:2])[0]
    for name in ("new_log_probability", "text_nats", "probe_kl", "base_log_probability"):
        values, others = both[f"edits/{name}"], one[f"edits/{name}"]
        ours, theirs = (
            found[facts[1]] if "base" in name else found[0, :, facts[1]] for found in (values, others)
        )
        assert np.isfinite(ours).any()
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
