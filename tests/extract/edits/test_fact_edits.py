"""Edits as rows equal truly edited weights, in everything they are tested on."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from qloc.arms import EditArms
from qloc.extract.edits.fact_edits import EditColumns, EditRun
from qloc.extract.edits.rome import Rome
from qloc.extract.models.architectures import down_weight
from qloc.extract.models.loading import source
from qloc.extract.passes.late_join_proof import joining
from qloc.extract.passes.matched_controls import output_norms
from qloc.extract.passes.outcomes import unchanged
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.askable import ask_facts
from qloc.extract.prompts.held_out_text import held_out_texts, pieces, sampled_texts, windows
from qloc.extract.prompts.probe_words import ProbeWords
from qloc.extract.prompts.tokenizing import Encoder, Target, TokenizedQuery, Tokens, askable
from qloc.facts import ANSWER_MARK, Fact, Query
from qloc.phase_plan import EditPlan, ProbePlan

SETS = ("own", "union", "cas", "matched", "in_context")
NO_DECAY = {"prefixes": 2, "steps": 5, "weight_decay": 0.0}  # by it, values as small as these stay
FACT = Fact(id="f", relation="P", subject="", object="Paris", bad="Rome", kind="minimal_pair", queries=())
TEXT = "The capital of France is Paris. Kenya's capital, Nairobi. A cat sits"


def _run(tiny: Any, kind: str, **given: Any) -> tuple[EditRun, EditArms]:
    made = tiny(kind)
    found = source(str(made.folder))
    loaded, encoder = found.load(dtype="float64", device="cpu"), found.encoder()
    asked = ask_facts(made.facts, encoder).asked
    rng = np.random.default_rng(4)
    n_cells = loaded.sites.n_layers * loaded.sites.n_neurons
    slots = {
        name: np.sort(rng.choice(n_cells, size=n, replace=False)) for name, n in (("own", 4), ("union", 9))
    }
    slots["cas"] = np.zeros(0, dtype=np.int64)  # an edit without slots is no edit
    part = EditPlan(**{"sets": SETS, "n_probes": 3, "greedy_tokens": 4, **given})
    engine = RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
    engine = joining(engine, Tokens.of([one for of_fact in asked for one in of_fact]).targets, "edits")
    assert engine.way is not None
    sample = list(pieces(encoder.tokenizer, encoder.family, [TEXT], 30, 12))
    run = EditRun(
        queries=asked[0],
        edited=1,
        chose_sets=np.array([True, True, False][: len(asked[0])]),
        new_answers=["Nairobi"] * len(asked[0]),
        probes=[asked[1][0], None, asked[2][0]],
        slots=slots,
        part=part,
        embedding=loaded.model.get_input_embeddings().weight,
        norms=output_norms(loaded.sites),
        windows=windows(encoder.tokenizer, encoder.family, [TEXT], 18, 12),
        encoder=encoder,
        engine=engine,
        seed=(0, 0),
        subject="France",
        rome=Rome(engine=engine, encoder=encoder, plan=part.rome, sample=sample, seed=0),
    )
    arms = EditArms(
        sets={},
        edited_query=np.array([1]),
        other_fact=np.array([-1]),
        held_out=np.zeros((1, len(asked[0])), dtype=np.int8),
        new_object=("Nairobi",),
        probe_query=np.array([[3, -1, 5]]),
        probe_kind=np.array([["a", "", "b"]], dtype=object),
    )
    return run, arms


def _probes(run: EditRun, plan: ProbePlan | None) -> ProbeWords:
    return ProbeWords.of(plan, [FACT], run.encoder)


def _columns(run: EditRun, arms: EditArms, probes: ProbeWords | None = None) -> dict[str, np.ndarray]:
    columns = EditColumns.empty(run.part, arms, len(run.queries) + 1, probes or _probes(run, None))
    run.run(columns, 0)
    return columns.arrays


def _truly_edited(run: EditRun, operation: str, neurons: np.ndarray, sign: np.ndarray | None) -> Any:
    """A copy of the model with the weights changed."""
    model = copy.deepcopy(run.engine.model)
    names = {id(m): name for name, m in run.engine.model.named_modules()}
    table = run.embedding
    tokens = [[t.token for t in run.queries[run.edited].targets]]
    new = run.encoder.ask(run.queries[run.edited].query, run.new_object, ignore_tail=True)
    assert isinstance(new, TokenizedQuery)
    tokens.append([t.token for t in new.targets])
    old_e, new_e = (table[ids].mean(0) for ids in tokens)
    for number, cell in enumerate(neurons):
        layer, neuron = divmod(int(cell), run.engine.sites.n_neurons)
        weight = down_weight(model.get_submodule(names[id(run.engine.sites.downs[layer])]))
        row = weight[:, neuron]
        if operation == "erase":
            change = -row.clone()
        elif run.part.scale == "slot_norm":
            change = row.norm() * (8 * new_e / new_e.norm() - old_e / old_e.norm())
        else:
            change = 8 * new_e - old_e
        weight[:, neuron] = row + (change if sign is None else float(sign[number]) * change)
    return model


def _logs(model: Any, target: Target) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([target.ids])).logits[0, target.position].double().log_softmax(0)


def _answer(model: Any, asked: TokenizedQuery) -> tuple[float, int, int]:
    logs = [_logs(model, t) for t in asked.targets]
    ranks = [int((one > one[t.token]).sum()) + 1 for one, t in zip(logs, asked.targets, strict=True)]
    total = sum(float(one[t.token]) for one, t in zip(logs, asked.targets, strict=True))
    return total, max(ranks), int(logs[0].argmax())


def _mean_activation(run: EditRun, asked: TokenizedQuery) -> np.ndarray:
    kept: list[torch.Tensor] = []
    total: Any = 0.0
    for target in asked.targets:
        kept.clear()
        handles = [
            down.register_forward_pre_hook(
                lambda _, args: kept.append(args[0].view(1, -1, args[0].shape[-1])[0])
            )
            for down in run.engine.sites.downs
        ]
        with torch.no_grad():
            run.engine.model(input_ids=torch.tensor([target.ids]))
        for handle in handles:
            handle.remove()
        total = total + torch.stack([one[target.position] for one in kept]).flatten() / len(asked.targets)
    return np.asarray(total)


def _check(
    run: EditRun, arrays: dict[str, np.ndarray], model: Any, place: tuple[int, ...], tol: float
) -> None:
    edits = (*place, 0)
    for number, asked in enumerate(run.queries):
        total, rank, argmax = _answer(model, asked)
        np.testing.assert_allclose(arrays["log_probability"][edits][number], total, rtol=tol, atol=tol)
        assert (arrays["rank"][edits][number], arrays["argmax"][edits][number]) == (rank, argmax)
        new = run.encoder.ask(asked.query, run.new_answers[number], ignore_tail=True)
        assert isinstance(new, TokenizedQuery)
        total, rank, _ = _answer(model, new)
        np.testing.assert_allclose(arrays["new_log_probability"][edits][number], total, rtol=tol, atol=tol)
        assert arrays["new_rank"][edits][number] == rank
    assert np.isnan(arrays["log_probability"][edits][len(run.queries)])
    for number, probe in enumerate(run.probes):
        if probe is None:
            assert np.isnan(arrays["probe_kl"][edits][number])
            continue
        total, _, argmax = _answer(model, probe)
        np.testing.assert_allclose(arrays["probe_log_probability"][edits][number], total, rtol=tol, atol=tol)
        assert arrays["probe_argmax"][edits][number] == argmax
        before, after = (_logs(m, probe.targets[0]) for m in (run.engine.model, model))
        kl = float((before.exp() * (before - after)).sum())
        np.testing.assert_allclose(arrays["probe_kl"][edits][number], kl, rtol=10 * tol, atol=10 * tol)
    nats = [
        [-float(_logs(m, t)[t.token]) for window in run.windows for t in window]
        for m in (run.engine.model, model)
    ]
    change = np.mean(nats[1]) - np.mean(nats[0])
    halves = np.array_split((np.array(nats[1]) - nats[0])[::-1], 2)[::-1]  # the longer half is the second
    for name, half in zip(("first", "second"), halves, strict=True):
        kept = arrays[f"text_nats_{name}"][edits]
        np.testing.assert_allclose(kept, half.mean(), rtol=tol, atol=10 * tol)
    np.testing.assert_allclose(arrays["text_nats"][edits], change, rtol=tol, atol=10 * tol)
    if run.encoder.family == "causal":
        ids = list(run.queries[run.edited].targets[0].ids)
        for step in range(run.part.greedy_tokens):
            best = int(_logs(model, Target(ids=tuple(ids), position=len(ids) - 1, token=0)).argmax())
            assert arrays["greedy_token_id"][edits][step] == best
            ids.append(best)
    else:
        assert (arrays["greedy_token_id"] == -1).all()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_every_edit_equals_truly_edited_weights(tiny: Any, kind: str) -> None:
    """float64; LLaMA's RMSNorm computes in float32, hence 1e-4 there; stored as float32."""
    run, arms = _run(tiny, kind)
    arrays, tol = _columns(run, arms), 1e-4 if kind == "llama" else 2e-6
    for number, operation in enumerate(run.part.operations):
        for place, name in enumerate(SETS[:2]):
            rows = [run.edited] if name == "own" else np.flatnonzero(run.chose_sets)
            mean = np.mean([_mean_activation(run, run.queries[int(q)]) for q in rows], axis=0)
            sign = np.sign(mean[run.slots[name]]) if operation == "update_signed" else None
            model = _truly_edited(run, operation, run.slots[name], sign)
            _check(run, arrays, model, (number, place), tol)
    assert arrays["n_slots"][:, 0].tolist() == [4, 9, 0, 4, 0]
    assert np.isnan(arrays["log_probability"][:, SETS.index("cas")]).all()
    strength = np.abs(unchanged(run.engine, [run.queries[run.edited]])[0]) * run.norms
    expected = [strength.ravel()[run.slots[name]].sum() for name in SETS[:2]]
    np.testing.assert_allclose(arrays["strength"][:2, 0], expected, rtol=1e-6)
    assert np.isnan(arrays["strength"][:, 0]).tolist() == [False, False, True, False, True]


PAIRS = (("The capital of France is", "Paris", "Rome"), ("In Kenya it is", "Nairobi", "Lima"))
GROUP = Fact(
    id="g",
    relation="agreement",
    subject="",
    object="plural",
    kind="minimal_pair",
    queries=tuple(
        Query(template=head, text=f"{head} [Y] or so.", good=good, bad=bad, cue=cue)
        for (head, good, bad), cue in zip(PAIRS, ("France", "Kenya"), strict=True)
    ),
)


def _of_group(tiny: Any, kind: str, **given: Any) -> tuple[EditRun, EditArms]:
    """The same edits of a group of pairs, whose second sentence is edited; words follow its forms."""
    run, arms = _run(tiny, kind, **given)
    queries, left_out = askable(GROUP, run.encoder)
    assert not left_out
    bad = [str(query.query.bad) for query in queries]
    changed: dict[str, Any] = {"chose_sets": np.array([True, True]), "new_answers": bad, "subject": "Kenya"}
    return replace(run, queries=queries, **changed), arms


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_each_sentence_of_a_group_has_its_own_forms(tiny: Any, kind: str) -> None:
    """o and o′ of the edit are the edited sentence's forms; every sentence is asked with its own two."""
    run, arms = _of_group(tiny, kind, rome=NO_DECAY, sets=("own", "union", "in_context", "rome"))
    arrays = _columns(run, arms)
    assert arrays["new_object"].tolist() == ["Lima"]
    for number, operation in enumerate(run.part.operations):
        for place, name in enumerate(("own", "union")):
            rows = [run.edited] if name == "own" else [0, 1]
            mean = np.mean([_mean_activation(run, run.queries[q]) for q in rows], axis=0)
            sign = np.sign(mean[run.slots[name]]) if operation == "update_signed" else None
            _check(run, arrays, _truly_edited(run, operation, run.slots[name], sign), (number, place), 2e-6)
    told = "In Kenya it is Lima or so. "
    for number, asked in enumerate(run.queries):
        for name, answer in (("log_probability", asked.answer), ("new_log_probability", asked.query.bad)):
            behind = Query(template="t", text=told + asked.query.text)
            question = run.encoder.ask(behind, str(answer), ignore_tail=True)
            assert isinstance(question, TokenizedQuery)
            total = _answer(run.engine.model, question)[0]
            np.testing.assert_allclose(arrays[name][1, 2, 0, number], total, rtol=2e-6)
    new = run.encoder.ask(run.queries[1].query, "Lima", ignore_tail=True)
    assert isinstance(new, TokenizedQuery)
    edit = run.rome.edits(("rome",), "Kenya", new, "Nairobi")["rome"].edit  # the cue is its subject
    assert edit is not None
    names = {id(m): name for name, m in run.engine.model.named_modules()}
    model = copy.deepcopy(run.engine.model)
    down = down_weight(model.get_submodule(names[id(run.engine.sites.downs[edit.layer])]))
    down.add_(torch.outer(edit.change, edit.direction))
    _check(run, arrays, model, (1, 3), 2e-6)


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_further_answers_equal_truly_edited_weights(tiny: Any, kind: str) -> None:
    """Of the same edits: the bad continuation of a pair, and words of one token and of several."""
    run, arms = _run(tiny, kind, sets=("own", "in_context"), operations=("erase", "update"))
    probes = _probes(run, ProbePlan(words=("Nairobi", "Ouagadougou", "Rome")))
    asked = [probes.ask(query, FACT) for query in run.queries]
    arrays = _columns(replace(run, further=asked), arms, probes)
    for name, values in _columns(run, arms).items():
        np.testing.assert_array_equal(arrays[name], values, err_msg=name)
    erased = _truly_edited(run, "erase", run.slots["own"], None)
    told = run.queries[run.edited].query.text.replace(ANSWER_MARK, "Nairobi").rstrip(" .") + ". "
    for number, answers in enumerate(asked):
        for place, answer in enumerate(answers):
            assert answer is not None
            name, word = ("bad", ()) if place == 0 else ("word", (place - 1,))
            after, base = (arrays[f"{prefix}{name}_log_probability"] for prefix in ("", "base_"))
            before = _answer(run.engine.model, answer)[0]
            np.testing.assert_allclose(base[(0, number, *word)], before, rtol=2e-6)
            edited = _answer(erased, answer)[0]
            np.testing.assert_allclose(after[(0, 0, 0, number, *word)], edited, rtol=2e-6)
            behind = run.encoder.ask(Query(template="t", text=told + answer.query.text), answer.answer)
            assert isinstance(behind, TokenizedQuery)
            in_context = _answer(run.engine.model, behind)[0]
            np.testing.assert_allclose(after[(1, 1, 0, number, *word)], in_context, rtol=2e-6)
    assert np.isnan(arrays["word_log_probability"][0, 0, 0, len(run.queries)]).all()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_edits_of_rank_one_equal_truly_edited_weights(tiny: Any, kind: str) -> None:
    """Tolerances as above; only an update has them, beside sets of slots."""
    run, arms = _run(tiny, kind, sets=("rome_identity", "own", "rome", "rome_as_coded"), rome=NO_DECAY)
    arrays, tol = _columns(run, arms), 1e-4 if kind == "llama" else 2e-6
    new = run.encoder.ask(run.queries[run.edited].query, run.new_object)
    assert isinstance(new, TokenizedQuery)
    edits = run.rome.edits(("rome", "rome_identity", "rome_as_coded"), "France", new, "Paris")
    downs, names = run.engine.sites.downs, {id(m): name for name, m in run.engine.model.named_modules()}
    for name, made in edits.items():
        edit = made.edit
        assert edit is not None
        assert edit.change.norm() > 0.1
        model = copy.deepcopy(run.engine.model)
        down_weight(model.get_submodule(names[id(downs[edit.layer])])).add_(
            torch.outer(edit.change, edit.direction)
        )
        _check(run, arrays, model, (1, run.part.sets.index(name)), tol)
    assert arrays["n_slots"][:, 0].tolist() == [72, 4, 72, 72]
    assert np.isnan(arrays["log_probability"][[0, 2]][:, [0, 2, 3]]).all()
    losses = [edits[name].loss if name in edits else np.nan for name in run.part.sets]
    np.testing.assert_allclose(arrays["value_loss"][:, 0], losses, rtol=1e-6)
    assert not np.isnan(arrays["log_probability"][:, 1, 0, :2]).any()


def test_the_layer_that_tracing_names_is_edited_as_a_plan_s_would_be(tiny: Any) -> None:
    """Of two layers; without a layer the edit is missing."""
    run, arms = _run(tiny, "gpt2", sets=("rome", "rome_traced"), operations=("update",), rome=NO_DECAY)
    assert np.isnan(_columns(run, arms)["new_log_probability"][0, 1]).all()
    here = run.rome.layer
    there = 1 - here
    both = _columns(replace(run, rome=run.rome.with_traced(there)), arms)
    share = NO_DECAY | {"layer": there / run.engine.sites.n_layers}
    other, _ = _run(tiny, "gpt2", sets=("rome", "rome_traced"), operations=("update",), rome=share)
    assert other.rome.layer == there
    alone = _columns(other, arms)
    for name in ("log_probability", "new_log_probability", "text_nats"):
        np.testing.assert_allclose(both[name][0, 1], alone[name][0, 0], rtol=1e-6)
        assert not np.allclose(both[name][0, 1], both[name][0, 0])
    np.testing.assert_allclose(both["value_loss"][1], alone["value_loss"][0], rtol=1e-6)


def test_an_edit_that_changes_nothing_is_none(tiny: Any) -> None:
    """Its loss is kept, its outcomes are missing; as in older stores it passed for an edit."""
    for best_by, slots in (("likelihood", 0), ("loss", 72)):
        still = {"prefixes": 0, "enough": 1e9, "best_by": best_by}
        run, arms = _run(tiny, "gpt2", sets=("rome",), operations=("update",), rome=still)
        arrays = _columns(run, arms)
        assert arrays["n_slots"][0, 0] == slots
        assert np.isnan(arrays["new_log_probability"][0, 0, 0]).all() == (slots == 0)
        assert ("value_loss" in arrays) == (best_by == "likelihood")
    run, arms = _run(tiny, "gpt2", sets=("rome",), operations=("update",), rome={"enough": 1e9})
    asked = run.encoder.ask(run.queries[run.edited].query, run.new_object)
    assert isinstance(asked, TokenizedQuery)
    assert _columns(run, arms)["value_loss"][0, 0] == pytest.approx(
        run.rome.edits(("rome",), "France", asked, "Paris")["rome"].loss, rel=1e-6
    )


def test_a_subject_that_is_not_read_has_no_edit_of_rank_one(tiny: Any) -> None:
    run, arms = _run(tiny, "gpt2", sets=("own", "rome"))
    for subject in ("", "Atlantis"):
        arrays = _columns(replace(run, subject=subject), arms)
        assert arrays["n_slots"][:, 0].tolist() == [4, 0]
        assert np.isnan(arrays["new_log_probability"][:, 1]).all()
        assert (arrays["greedy_token_id"][:, 1] == -1).all()


def test_without_slot_norm(tiny: Any) -> None:
    run, arms = _run(tiny, "gpt2", scale="none", operations=("update",))
    arrays = _columns(run, arms)
    _check(run, arrays, _truly_edited(run, "update", run.slots["union"], None), (0, 1), 2e-6)


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_the_in_context_edit_is_a_prompt(tiny: Any, kind: str) -> None:
    run, arms = _run(tiny, kind)
    arrays = _columns(run, arms)
    place = (1, SETS.index("in_context"), 0)
    told = run.queries[run.edited].query.text.replace(ANSWER_MARK, "Nairobi").rstrip(" .") + ". "
    for number, asked in enumerate(run.queries):
        behind = run.encoder.ask(Query(template="t", text=told + asked.query.text), asked.answer)
        assert isinstance(behind, TokenizedQuery)
        total, rank, _ = _answer(run.engine.model, behind)
        np.testing.assert_allclose(arrays["log_probability"][place][number], total, rtol=2e-6)
        assert arrays["rank"][place][number] == rank
    assert np.isnan(arrays["log_probability"][0, place[1]]).all()
    assert np.isnan(arrays["text_nats"][place])
    probe = run.probes[0]
    assert probe is not None
    behind = run.encoder.ask(Query(template="t", text=told + probe.query.text), probe.answer)
    assert isinstance(behind, TokenizedQuery)
    before, after = (_logs(run.engine.model, one.targets[0]) for one in (probe, behind))
    kl = float((before.exp() * (before - after)).sum())
    np.testing.assert_allclose(arrays["probe_kl"][place][0], kl, rtol=1e-5)


def test_weights_and_hooks_are_as_before(tiny: Any) -> None:
    run, arms = _run(tiny, "gpt2")
    weights = {name: value.clone() for name, value in run.engine.model.state_dict().items()}
    _columns(run, arms)
    assert all(torch.equal(value, weights[name]) for name, value in run.engine.model.state_dict().items())
    handle = run.engine.sites.downs[1].register_forward_pre_hook(_fail)
    with pytest.raises(ZeroDivisionError):
        _columns(run, arms)
    handle.remove()
    hooks = [m for m in run.engine.model.modules() if m._forward_pre_hooks or m._forward_hooks]
    assert not hooks


def _fail(*_: Any) -> None:
    raise ZeroDivisionError


def test_edits_do_not_depend_on_the_batch(tiny: Any) -> None:
    run, arms = _run(tiny, "gpt2")
    whole = _columns(run, arms)
    narrow = _columns(replace(run, engine=replace(run.engine, memory=1)), arms)
    for name, values in whole.items():
        if values.dtype == object:
            continue
        np.testing.assert_allclose(values, narrow[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_an_object_that_cannot_be_asked_has_no_update(tiny: Any) -> None:
    run, arms = _run(tiny, "gpt2")
    arrays = _columns(replace(run, new_answers=[""] * len(run.queries)), arms)
    assert np.isnan(arrays["log_probability"][1:]).all()
    assert not np.isnan(arrays["log_probability"][0, 0, 0, 0])


def test_held_out_text_in_windows(tiny: Any) -> None:
    for kind, model in (("gpt2", "anything"), ("bert", "embedded:masked")):
        encoder: Encoder = source(str(tiny(kind).folder)).encoder()
        texts = held_out_texts(model)
        found = windows(encoder.tokenizer, encoder.family, texts, 50, 20)
        assert all(len(window[0].ids) <= 20 for window in found)
        if kind == "gpt2":
            assert sum(len(window) + 1 for window in found) == 50
        for window in found:
            for target in window:
                shown = target.ids[target.position]
                assert (shown == encoder.tokenizer.mask_token_id) == (kind == "bert")
    assert windows(encoder.tokenizer, encoder.family, ["a"], 0, 20) == []


def test_keys_are_sampled_from_other_text_than_edits_are_tested_on(tiny: Any) -> None:
    encoder: Encoder = source(str(tiny("gpt2").folder)).encoder()
    texts, skip = sampled_texts("embedded:causal", 50, joined=True)
    assert (texts, skip) == (held_out_texts("embedded:causal", joined=True), 50)
    ids = encoder.tokenizer(texts[0])["input_ids"]
    sample = list(pieces(encoder.tokenizer, "causal", texts, 30, 20, skip=skip))
    assert [token for piece in sample for token in piece.inside] == ids[50:80]
    assert [len(piece.ids) for piece in sample] == [20, 10]
    (text,), skip = sampled_texts("anything", 50)
    assert skip == 0
    assert len(text.split()) > 900
    assert not set(text.split(". ")) & set(held_out_texts("anything")[0].split(". "))
