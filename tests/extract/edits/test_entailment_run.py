"""Edits on prompts of what they entail equal truly edited weights, a swap both of its edits at once."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from qloc.arms import EntailedArms
from qloc.extract.edits.entailed_prompts import EntailedPrompt
from qloc.extract.edits.entailment_run import EntailedColumns, EntailmentRun, Together
from qloc.extract.edits.fact_edits import EditRun
from qloc.extract.models.architectures import down_weight
from qloc.extract.passes.weight_changes import Added
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.facts import Query

SETS = ("own", "union", "cas", "in_context", "rome")
PROMPTS = [
    EntailedPrompt(kind=kind, query=Query(template="t", text=text), old=old, new=new)
    for kind, text, old, new in (
        ("new_inverse", "Nairobi is the capital of [Y].", "Kenya", "France"),
        ("old_inverse", "Paris is the capital of [Y].", "France", ""),
        ("synonym", "A cat sits in [Y].", "Paris", "Nairobi"),
        ("neighborhood", "The capital of Peru is [Y].", "Lima", "Nairobi"),
    )
]


def _filled(run: EditRun, partner: EditRun | None) -> dict[str, np.ndarray]:
    arms = EntailedArms(
        asks_inverse=np.array([True]),
        partner=np.array([-1 if partner is None else 1]),
        partner_query=np.array([-1]),
        partner_sets={},
        partner_held_out=np.zeros((1, 1), dtype=np.int8),
    )
    columns = EntailedColumns.empty(run.part, arms, len(PROMPTS) + 1)
    EntailmentRun(run=run, partner=partner, prompts=PROMPTS, text="France is").fill(columns, 0)
    return columns.arrays


def _with(run: EditRun, *edits: Added) -> Any:
    """A copy of the model with all that edits add put into its weights, column by column."""
    model, sites = copy.deepcopy(run.engine.model), run.engine.sites
    names = {id(m): name for name, m in run.engine.model.named_modules()}
    eye = torch.eye(sites.n_neurons, dtype=torch.float64)
    for layer, down in enumerate(sites.downs):
        for edit in edits:
            added = edit.at(layer)
            if added is not None:
                down_weight(model.get_submodule(names[id(down)])).add_(added(eye).T)
    return model


def _log(model: Any, asked: TokenizedQuery) -> float:
    with torch.no_grad():
        logs = [model(input_ids=torch.tensor([t.ids])).logits[0, t.position].double() for t in asked.targets]
    return sum(float(one.log_softmax(0)[t.token]) for one, t in zip(logs, asked.targets, strict=True))


def _check(run: EditRun, arrays: dict[str, np.ndarray], place: tuple[int, ...], models: tuple[Any, Any],
           context: tuple[str, str] = ("", "")) -> None:  # fmt: skip
    """Compare with one model for the inverse and another for the rest."""
    base = "base_" if len(place) == 1 else ""
    for number, prompt in enumerate(PROMPTS):
        which = 0 if "inverse" in prompt.kind else 1
        query = replace(prompt.query, text=context[which] + prompt.query.text)
        for name, answer in (("log_probability", prompt.old), ("new_log_probability", prompt.new)):
            ours = arrays[base + name][(*place, number)]
            asked = run.encoder.ask(query, answer) if answer else ""
            if not isinstance(asked, TokenizedQuery):
                assert np.isnan(ours)
                continue
            np.testing.assert_allclose(ours, _log(models[which], asked), rtol=2e-6, atol=2e-6)
    assert np.isnan(arrays[f"{base}log_probability"][(*place, len(PROMPTS))])


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
@pytest.mark.parametrize("swapped", [True, False])
def test_outcomes_equal_those_of_truly_edited_weights(tiny_edit: Any, kind: str, swapped: bool) -> None:
    run = tiny_edit(kind, SETS)
    partner = tiny_edit(kind, SETS, fact=1, new_object="Paris", subject="Kenya") if swapped else None
    arrays, plain = _filled(run, partner), run.engine.model
    assert arrays["kind"][0].tolist() == [*(prompt.kind for prompt in PROMPTS), ""]
    _check(run, arrays, (0,), (plain, plain))
    seen = 0
    for (operation, name), edit in run.edits.items():
        along = [edit]
        if partner is not None and operation > 0:
            along.append(partner.edits[operation, name])
        seen += 1
        _check(run, arrays, (operation, name, 0), (_with(run, *along), _with(run, edit)))
    assert seen == 7  # own and union by three operations, and ROME
    statements = run.statement + (partner.statement if partner else ""), run.statement
    assert statements[1]
    _check(run, arrays, (1, 3, 0), (plain, plain), statements)
    assert np.isnan(arrays["log_probability"][:, 2]).all()  # no slots, no edit
    assert np.isnan(arrays["log_probability"][[0, 2], 3]).all()


def test_texts_are_continued_greedily(tiny_edit: Any) -> None:
    """By the edited model from the beginning, the inverse with both edits; a masked model continues none."""
    run, partner = (
        tiny_edit("gpt2", SETS),
        tiny_edit("gpt2", SETS, fact=1, new_object="Paris", subject="Kenya"),
    )
    arrays, own = _filled(run, partner), run.edits[1, 0]
    begun = [run.encoder.ask(PROMPTS[n].query, PROMPTS[n].new) for n in (0, 2)]
    ids = [list(one.targets[0].ids) if isinstance(one, TokenizedQuery) else [] for one in begun]
    ids.append(run.encoder.tokenizer("France is")["input_ids"])
    models = _with(run, own, partner.edits[1, 0]), _with(run, own), _with(run, own)
    for label, (text, model) in enumerate(zip(ids, models, strict=True)):
        for name, place, by in (
            ("generated_token_id", (1, 0, 0), model),
            ("base_generated_token_id", (0,), run.engine.model),
        ):
            read = list(text)
            for _ in range(run.part.greedy_tokens):
                with torch.no_grad():
                    read.append(int(by(input_ids=torch.tensor([read])).logits[0, -1].argmax()))
            assert arrays[name][(*place, label)].tolist() == read[len(text) :]
    masked = _filled(tiny_edit("bert", SETS), None)
    assert (masked["generated_token_id"] == -1).all()


def test_two_edits_at_once_add_what_each_adds(tiny_edit: Any) -> None:
    run = tiny_edit("gpt2", SETS)
    first, second = run.edits[0, 0], run.edits[1, 4]
    both, x = (
        Together(first=first, second=second),
        torch.randn(3, run.engine.sites.n_neurons, dtype=torch.float64),
    )
    assert both.n_slots == first.n_slots + second.n_slots
    for layer in range(run.engine.sites.n_layers):
        parts = [added(x) for edit in (first, second) if (added := edit.at(layer)) is not None]
        ours = both.at(layer)
        assert (ours is None) == (not parts)
        if ours is not None:
            torch.testing.assert_close(ours(x), torch.stack(parts).sum(0))
