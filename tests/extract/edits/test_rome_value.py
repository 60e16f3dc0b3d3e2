"""The search for the value: loss, gradient and start by brute force; the loss falls within the clamp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from qloc.extract.edits.rome import ROME, ROME_AS_CODED, Rome
from qloc.extract.edits.rome_value import ValueSearch

KINDS = ("gpt2", "llama", "bert")


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
def test_loss_and_gradient_by_brute_force(
    kind: str, rome_of: Callable[..., Rome], search_of: Callable[..., ValueSearch]
) -> None:
    """float64, an answer of several tokens, prompts of several lengths, in one batch and one by one."""
    search = search_of(rome_of(kind), kl=0.7, weight_decay=0.5)
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


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_lower_blocks_run_once_unless_that_changes_anything(
    kind: str, rome_of: Callable[..., Rome], search_of: Callable[..., ValueSearch]
) -> None:
    """A block that looks whether a lower one ran makes every pass whole again."""
    search = search_of(rome_of(kind))
    assert search.layer > 0
    lower, upper = search.engine.sites.blocks[0], search.engine.sites.blocks[search.layer]
    inside = next(part for part in lower.modules() if part is not lower)
    counted: list[int] = []
    handles = [inside.register_forward_pre_hook(lambda *_: counted.append(1))]
    losses = [search.descend(torch.zeros_like(search.start).requires_grad_(True)) for _ in range(3)]
    assert len(set(losses)) == 1
    assert len(counted) == 1

    def shifted(_: Any, __: Any, output: Any) -> Any:
        more = float(bool(counted))
        counted.clear()
        return (output[0] + more, *output[1:]) if isinstance(output, tuple) else output + more

    handles.append(upper.register_forward_hook(shifted))
    counted.clear()
    wary = replace(search)
    value = wary.start
    assert wary.descend(torch.zeros_like(value).requires_grad_(True)) == pytest.approx(
        float(_plain_loss(wary, value).detach()), rel=1e-9
    )
    for handle in handles:
        handle.remove()


def test_start_is_what_the_layer_gives_at_the_mean_key(
    rome_of: Callable[..., Rome], search_of: Callable[..., ValueSearch]
) -> None:
    search = search_of(rome_of("gpt2"))
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
def test_the_loss_falls_within_the_clamp(
    kind: str, rome_of: Callable[..., Rome], search_of: Callable[..., ValueSearch]
) -> None:
    """Random weights leave little to gain, of 5.7 nats 0.07 to 0.15; a step that is far too long loses none."""
    free, tight, wild = (
        search_of(rome_of(kind), clamp=clamp, rate=rate, steps=40)
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
    assert torch.equal(search_of(rome_of(kind), enough=1e9).best().value, free.start)


def _coded(search: ValueSearch, rome: Rome) -> tuple[torch.Tensor, torch.Tensor]:
    """Return u and v* by the authors' steps, plainly: a prompt at a time, δ added to each one's own output."""
    model, down, plan = search.engine.model, search.engine.sites.downs[search.layer], search.plan
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def logs(prompt: Any, delta: torch.Tensor) -> torch.Tensor:
        def add(_: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
            seen.append((args[0][0, prompt.subject].detach(), output[0, prompt.subject].detach()))
            mark = torch.zeros(output.shape[1], 1, dtype=output.dtype)
            mark[prompt.subject] = 1
            return output + mark * delta

        handle = down.register_forward_hook(add)
        out = model(input_ids=torch.tensor([prompt.asked.targets[-1].ids])).logits[0].log_softmax(1)
        handle.remove()
        return out

    delta = torch.zeros(32, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        before = logs(search.essence, delta)[search.essence.subject]
        seen.clear()
        for prompt in search.prompts:
            logs(prompt, delta)
    keys, start = torch.stack([key for key, _ in seen]), seen[0][1]
    adam = torch.optim.Adam([delta], lr=plan.rate)
    for step in range(plan.steps):
        adam.zero_grad()
        each = []
        for prompt in search.prompts:
            out = logs(prompt, delta)
            told = torch.stack([out[t.position, t.token] for t in prompt.asked.targets])
            each.append(-told.mean())
        now = logs(search.essence, delta)[search.essence.subject]
        loss = torch.stack(each).mean() + plan.kl * (now.exp() * (now - before)).sum()
        loss = loss + plan.weight_decay * delta.norm() / start.norm() ** 2
        if step == plan.steps - 1 or float(loss.detach()) < plan.enough:
            break
        loss.backward()
        adam.step()
        with torch.no_grad():
            if delta.norm() > plan.clamp * start.norm():
                delta.mul_(plan.clamp * start.norm() / delta.norm())
    u = rome.moment.solve(keys.mean(0))
    value = start + delta.detach()
    with torch.no_grad():
        right = (value - down(keys[0][None])[0]) / (keys[0] @ u)
    return u, right


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_the_edit_as_coded_by_the_authors_steps(
    kind: str, rome_of: Callable[..., Rome], new_answer: Callable[[Rome], Any]
) -> None:
    """float64; ΔW = right uᵀ is the same whatever length u has."""
    rome = rome_of(kind, kl=0.7, weight_decay=0.5, steps=6, rate=0.1)
    search = rome.search("France", new_answer(rome), "Paris", as_coded=True)
    assert search is not None
    u, right = _coded(search, rome)
    made = rome.edits((ROME, ROME_AS_CODED), "France", new_answer(rome), "Paris")
    edit, published = made[ROME_AS_CODED].edit, made[ROME].edit
    assert edit is not None
    assert published is not None
    expected = torch.outer(right, u)
    torch.testing.assert_close(torch.outer(edit.change, edit.direction), expected, rtol=1e-6, atol=1e-9)
    assert (torch.outer(published.change, published.direction) - expected).norm() > 0.01 * expected.norm()


def test_the_best_value_is_the_likeliest_not_the_shortest(
    rome_of: Callable[..., Rome], search_of: Callable[..., ValueSearch]
) -> None:
    """A decay that outweighs all else leaves the value where it was by the whole loss, and not by likelihood."""
    rome = rome_of("gpt2")
    by = {
        name: search_of(rome, weight_decay=1e4, best_by=name, rate=0.05).best()
        for name in ("likelihood", "loss")
    }
    assert not by["loss"].changed
    assert by["likelihood"].changed
    assert by["likelihood"].loss < by["loss"].loss
    search = search_of(rome, weight_decay=0.0)
    expected = float(_plain_loss(search, by["likelihood"].value).detach())
    assert by["likelihood"].loss == pytest.approx(expected, rel=1e-9)
