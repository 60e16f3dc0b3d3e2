"""Knowledge synapses: sets by their definition, controls of equal mass, arms equal to brute force."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from qloc.extract.interventions.knowledge_synapses import COLUMN_SHARE, RENORMALIZED, SynapseRun
from qloc.extract.models.loading import source
from qloc.extract.passes.attention import _NAME
from qloc.extract.passes.further_answers import FurtherAnswers
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.askable import ask_facts
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery, Tokens

SETS = ("published", "knowledge", "random_columns", "other_heads", "other_fact")
OPERATIONS = tuple(COLUMN_SHARE)
ALPHA = 1.3


def _synapses(tiny: Any, kind: str) -> SynapseRun:
    made = tiny(kind)
    found = source(str(made.folder))
    loaded = found.load(dtype="float64", device="cpu")
    asked = [one for queries in ask_facts(made.facts, found.encoder()).asked for one in queries]
    tokens = Tokens.of(asked)
    same = {len(t.ids): t for t in reversed(tokens.targets)}
    width = loaded.sites.n_layers * loaded.sites.n_neurons
    rng = np.random.default_rng(0)
    own, matched = (sparse.csr_array(rng.random((len(asked), width)) < 0.03) for _ in range(2))
    return SynapseRun(
        tokens=tokens,
        donors=[same[len(t.ids)] if number else None for number, t in enumerate(tokens.targets)],
        own=own,
        matched=matched,
        operations=OPERATIONS,
        names=SETS,
        alpha=ALPHA,
        engine=RowEngine(
            model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9, shared=True
        ),
        first_query=0,
        seed=0,
    )


@contextmanager
def _oracle(model: Any, change: Callable[[int, np.ndarray], np.ndarray]) -> Iterator[None]:
    """Attention written out by itself: each layer's weights, (head, token, token), go through ``change``."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    calls = [0]

    def attend(module: Any, q: Any, k: Any, v: Any, mask: Any, **given: Any) -> Any:
        scale = given.get("scaling") or q.shape[-1] ** -0.5
        heads = []
        for head in range(q.shape[1]):
            shared = head * k.shape[1] // q.shape[1]
            scores = q[0, head] @ k[0, shared].T * scale
            if mask is not None:
                scores = scores + mask[0, 0]
            heads.append(scores.softmax(-1).numpy())
        weights = torch.tensor(change(calls[0], np.array(heads)))
        calls[0] += 1
        groups = q.shape[1] // v.shape[1]
        outputs = [weights[head] @ v[0, head // groups] for head in range(q.shape[1])]
        return torch.stack(outputs, 1)[None], None

    AttentionInterface.register("oracle", attend)
    AttentionMaskInterface.register("oracle", eager_mask)
    before = model.config._attn_implementation
    model.set_attn_implementation("oracle")
    try:
        with torch.no_grad():
            yield
    finally:
        model.set_attn_implementation(before)


def _logits(run: SynapseRun, token: int, change: Callable[[int, np.ndarray], np.ndarray]) -> Any:
    """Logits at the target, and the activations there, (layer · neuron)."""
    target, kept, handles = run.tokens.targets[token], [], []
    for down in run.engine.sites.downs:

        def keep(_: Any, args: Any) -> None:
            kept.append(args[0].view(1, -1, args[0].shape[-1])[0, target.position].numpy().copy())

        handles.append(down.register_forward_pre_hook(keep))
    with _oracle(run.engine.model, change):
        logits = run.engine.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
    for handle in handles:
        handle.remove()
    return logits, np.concatenate(kept)


def _changing(share: np.ndarray, operation: str) -> Callable[[int, np.ndarray], np.ndarray]:
    def change(layer: int, given: np.ndarray) -> np.ndarray:
        changed = given.copy()
        for head, column in np.argwhere(share[layer] > 0):
            factor = 1 + COLUMN_SHARE[operation] * share[layer, head, column]
            changed[head, :, column] = given[head, :, column] * factor
        if operation in RENORMALIZED:
            total = changed.sum(-1, keepdims=True)
            changed = np.divide(changed, total, out=np.zeros_like(changed), where=total > 0)
        return changed

    return change


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_every_arm_equals_brute_force(tiny: Any, kind: str) -> None:
    """float64; LLaMA's RMSNorm computes in float32, hence 1e-4 there."""
    run = _synapses(tiny, kind)
    arrays, weights = run.arrays(), run._weights
    allowed = 1e-4 if kind == "llama" else 1e-6
    assert len({name for _, name in weights}) == len(SETS)
    single = [t for t in range(len(run.tokens.targets)) if run.tokens.share[t] == 1.0]
    for (token, name), (share, _) in weights.items():
        if token not in single[:2]:
            continue
        query = int(run.tokens.query[token])
        answer = run.tokens.targets[token].token
        _, was = _logits(run, token, lambda _, w: w)
        for number, operation in enumerate(OPERATIONS):
            logits, now = _logits(run, token, _changing(share, operation))
            place = number, name, query
            expected = float(logits.log_softmax(0)[answer])
            np.testing.assert_allclose(arrays["log_probability"][place], expected, rtol=allowed, atol=allowed)
            assert arrays["rank"][place] == int((logits > logits[answer]).sum()) + 1
            for label, sets in (("activation_effect", run.own), ("matched_effect", run.matched)):
                cells = sets.indices[sets.indptr[query] : sets.indptr[query + 1]]
                effect = ((now - was)[cells] * np.sign(was[cells])).sum() / np.abs(was[cells]).sum()
                np.testing.assert_allclose(arrays[label][place], effect, rtol=10 * allowed, atol=allowed)


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_an_answer_is_summed_over_all_of_its_tokens(tiny: Any, kind: str) -> None:
    """Also over passes that have no column to change, in float64 by brute force; nothing is changed there."""
    run = _synapses(tiny, kind)
    tokens = run.tokens
    several = np.unique(tokens.query[tokens.share < 1])
    last = {int(np.flatnonzero(tokens.query == query)[-1]) for query in several}
    run = replace(run, donors=[None if token in last else donor for token, donor in enumerate(run.donors)])
    arrays, weights = run.arrays(), run._weights
    bare = 0
    for query in several:
        passes = np.flatnonzero(tokens.query == query)
        for name in range(len(SETS)):
            there = [(int(token), name) in weights for token in passes]
            assert all(there) or not any(there)
            if not any(there):
                assert np.isnan(arrays["log_probability"][:, name, query]).all()
                continue
            bare += sum(not weights[int(token), name][0].any() for token in passes)
            for number, operation in enumerate(OPERATIONS):
                expected = 0.0
                for token in passes:
                    columns = weights[int(token), name][0]
                    change = _changing(columns, operation) if columns.any() else lambda _, given: given
                    logits, _ = _logits(run, int(token), change)
                    expected += float(logits.log_softmax(0)[tokens.targets[int(token)].token])
                found = arrays["log_probability"][number, name, query]
                np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
            counted = sum(np.count_nonzero(weights[int(token), name][0]) for token in passes)
            assert arrays["n_columns"][name, query] == counted
    assert len(several)
    assert bare


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_sets_follow_their_definition(tiny: Any, kind: str) -> None:
    run = _synapses(tiny, kind)
    weights = run._weights
    for token in range(3):
        seen: list[np.ndarray] = []

        def look(_: int, given: np.ndarray, seen: list[np.ndarray] = seen) -> np.ndarray:
            seen.append(given)
            return given

        _logits(run, token, look)
        whole = np.array(seen)  # (layer, head, token, token)
        n = whole.shape[-1]
        mass = whole.sum(2)
        inner = whole[:, :, 1:, 1:] / whole[:, :, 1:, 1:].sum(-1, keepdims=True)
        expected = np.zeros(mass.shape, dtype=bool)
        for column in range(1, n):
            even = 1.0 if kind == "bert" else sum(1 / j for j in range(column, n))
            expected[:, :, column] = inner[:, :, :, column - 1].sum(2) > ALPHA * even
        chosen = weights[token, SETS.index("knowledge")][0]
        np.testing.assert_array_equal(chosen > 0, expected)
        np.testing.assert_array_equal(weights[token, 0][0] > 0, mass > ALPHA * mass.mean())
        for name in ("random_columns", "other_heads"):
            control = weights[token, SETS.index(name)][0]
            assert not (control * chosen).any()
            assert not control[:, :, 0].any()
            got, wanted = ((share * mass).sum((1, 2)) for share in (control, chosen))
            free = ~expected
            free[:, :, 0] = False
            if name == "other_heads":
                free &= expected.any(1, keepdims=True)
                assert not control[~np.broadcast_to(expected.any(1, keepdims=True), free.shape)].any()
            most = (mass * free).sum((1, 2))
            np.testing.assert_allclose(got, np.minimum(wanted, most), rtol=1e-9)


def test_another_facts_synapses_take_no_more_than_equal_mass(tiny: Any) -> None:
    run = _synapses(tiny, "gpt2")
    weights = run._weights
    assert (0, SETS.index("other_fact")) not in weights  # has no donor
    for (token, name), (share, mass) in weights.items():
        if SETS[name] == "other_fact" and (token, 1) in weights:
            assert (share * mass).sum() <= (weights[token, 1][0] * mass).sum() * (1 + 1e-12)


def test_nothing_is_left_behind_after_an_error(tiny: Any) -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    run = _synapses(tiny, "gpt2")
    before = run.engine.model.config._attn_implementation
    handle = run.engine.sites.downs[1].register_forward_pre_hook(_fail)
    with pytest.raises(ZeroDivisionError):
        run.arrays()
    handle.remove()
    assert run.engine.model.config._attn_implementation == before
    assert _NAME not in AttentionInterface._global_mapping
    assert _NAME not in AttentionMaskInterface._global_mapping
    assert not any(module._forward_pre_hooks for module in run.engine.model.modules())


def _fail(*_: Any) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_further_answers_after_each_arm_equal_brute_force(tiny: Any, kind: str) -> None:
    """Read from the answer's passes, or from passes of their own with their own columns; the rest is the same."""
    run = _synapses(tiny, kind)
    encoder = source(str(tiny(kind).folder)).encoder()
    asked = [one for queries in ask_facts(tiny(kind).facts, encoder).asked for one in queries]
    words = ("Nairobi", "Lima", "Ur")
    answers: list[list[TokenizedQuery | None]] = []
    for one in asked:
        found = [encoder.ask(one.query, word, ignore_tail=True) for word in words]
        answers.append([answer if isinstance(answer, TokenizedQuery) else None for answer in found])
    answers[0][1] = None
    further = FurtherAnswers.of(run.tokens, answers, len(words))
    assert len(further.other) > 3
    same = {len(t.ids): t for t in reversed(run.tokens.targets)}
    lent = [same.get(len(further.targets[n].ids)) for n in further.other.tolist()]
    more = replace(run, further=further, further_donors=lent)
    plain, arrays = run.arrays(), more.arrays()
    for label, values in plain.items():
        np.testing.assert_array_equal(arrays[label], values, err_msg=label)
    after = more.further_log_probability()
    assert after.shape == (len(OPERATIONS), len(SETS), len(asked), len(words))
    assert np.isnan(after[:, :, 0, 1]).all()
    of_others = more._chosen(
        further.targets[further.n_own :], further.query[further.other], lent, further.n_own
    )
    number_of = {
        (int(of), target.ids, target.position): n
        for n, (of, target) in reversed(list(enumerate(zip(further.query, further.targets, strict=True))))
    }
    for query in (0, len(asked) - 2):
        for name in range(len(SETS)):
            made = [key for key in run._weights if key[1] == name and run.tokens.query[key[0]] == query]
            if not made:
                assert np.isnan(after[:, name, query]).all()
                continue
            for operation in OPERATIONS[::3]:
                for place, answer in enumerate(answers[query]):
                    expected = 0.0
                    for target in () if answer is None else answer.targets:
                        number = number_of[query, target.ids, target.position]
                        columns = {**of_others, **run._weights}[number, name][0]
                        change = _changing(columns, operation) if columns.any() else lambda _, given: given
                        logits = _attended(run, target, change)
                        expected += float(logits.log_softmax(0)[target.token])
                    if answer is not None:
                        value = after[OPERATIONS.index(operation), name, query, place]
                        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-6)


def _attended(run: SynapseRun, target: Target, change: Callable[[int, np.ndarray], np.ndarray]) -> Any:
    """Logits at a target with changed attention."""
    with _oracle(run.engine.model, change):
        return run.engine.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
