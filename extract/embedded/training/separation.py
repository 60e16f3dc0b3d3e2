"""Do a query's own neurons tell the classes of embedded facts apart? Brute force, apart from qloc's engine.

    python -m qloc.extract.embedded.training.separation [--kind causal|masked] [--facts-per-class 40] [--seed
    0]

Integrated gradients with 20 midpoints from a zero baseline, one layer's vector at the target position at a
time; neurons over 0.2 of the largest score in the network. Only facts whose answer is one token are asked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from qloc.extract.embedded import Kind, facts_path
from qloc.extract.embedded.training.corpus import FactClass
from qloc.extract.embedded.training.fit import encode
from qloc.extract.embedded.training.recall import RecallQuery, asked, load

STEPS, THRESHOLD = 20, 0.2


@dataclass(frozen=True)
class Prompts:
    """Prompts of one answer token each.

    Attributes
    ----------
    ids : int64, (query, token), padded at the right; the answer masked (masked models).
    real : bool, (query, token).
    position, target : int64, (query,): where the answer is read off, and its token.
    """

    ids: torch.Tensor
    real: torch.Tensor
    position: torch.Tensor
    target: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> Prompts:
        return Prompts(self.ids[rows], self.real[rows], self.position[rows], self.target[rows])


def prompts(tokenizer: PreTrainedTokenizerFast, queries: Sequence[RecallQuery]) -> Prompts:
    """The prompts of queries whose answer is one token."""
    encoded = encode(tokenizer, [q.sentence for q in queries])
    place = encoded.answer.int().argmax(1)
    rows = torch.arange(len(queries))
    target = encoded.ids[rows, place]
    if tokenizer.mask_token_id is None:
        return Prompts(encoded.ids, encoded.real, place - 1, target)
    return Prompts(
        encoded.ids.masked_fill(encoded.answer, tokenizer.mask_token_id), encoded.real, place, target
    )


def down_projections(model: PreTrainedModel) -> list[torch.nn.Module]:
    """Each layer's second matrix of the MLP, whose input is the layer's neurons."""
    gpt2 = model.config.model_type == "gpt2"
    name = "transformer.h.{}.mlp.c_proj" if gpt2 else "bert.encoder.layer.{}.output.dense"
    return [model.get_submodule(name.format(n)) for n in range(model.config.num_hidden_layers)]


def _logits(model: PreTrainedModel, asked_of: Prompts) -> torch.Tensor:
    """Logits at the target position, (query, token of the vocabulary)."""
    logits: torch.Tensor = model(asked_of.ids, attention_mask=asked_of.real).logits
    return logits[torch.arange(len(asked_of)), asked_of.position]


@contextmanager
def _replaced(down: torch.nn.Module, asked_of: Prompts, vectors: torch.Tensor) -> Iterator[None]:
    """Within it, the layer's neurons at each query's target position are ``vectors``, (query, neuron)."""
    rows = torch.arange(len(asked_of))

    def replace(_: torch.nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        (values,) = args
        return (values.index_put((rows, asked_of.position), vectors),)

    handle = down.register_forward_pre_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def activations(model: PreTrainedModel, asked_of: Prompts) -> torch.Tensor:
    """Neurons at the target position, float32, (query, layer, neuron)."""
    caught: list[torch.Tensor] = []
    rows = torch.arange(len(asked_of))
    with ExitStack() as stack:
        for down in down_projections(model):
            handle = down.register_forward_pre_hook(
                lambda _, args: caught.append(args[0][rows, asked_of.position])
            )
            stack.callback(handle.remove)
        _logits(model, asked_of)
    return torch.stack(caught, 1)


def attributions(model: PreTrainedModel, asked_of: Prompts, batch: int = 128) -> NDArray[np.float32]:
    """Integrated gradients of P(answer), (query, layer, neuron)."""
    parts = [_attributed(model, asked_of[slice(n, n + batch)]) for n in range(0, len(asked_of), batch)]
    return torch.cat(parts).numpy()


def _attributed(model: PreTrainedModel, asked_of: Prompts) -> torch.Tensor:
    found = activations(model, asked_of)
    scores = torch.zeros_like(found)
    for layer, down in enumerate(down_projections(model)):
        for k in range(STEPS):
            leaf = ((k + 0.5) / STEPS * found[:, layer]).requires_grad_()
            with _replaced(down, asked_of, leaf):
                right = _logits(model, asked_of).softmax(-1).gather(1, asked_of.target[:, None])
            scores[:, layer] += torch.autograd.grad(right.sum(), leaf)[0] / STEPS
    return scores * found


def neuron_sets(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which neurons score over 0.2 of the largest in the network, (query, layer, neuron)."""
    over: NDArray[np.bool_] = scores > THRESHOLD * scores.max((1, 2), keepdims=True)
    return over


@torch.no_grad()
def suppressed(model: PreTrainedModel, asked_of: Prompts, sets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """P(answer) with each query's own set of neurons at zero, (query,)."""
    keep = torch.from_numpy(~sets)
    rows = torch.arange(len(asked_of))
    with ExitStack() as stack:
        for layer, down in enumerate(down_projections(model)):

            def silence(
                _: torch.nn.Module, args: tuple[torch.Tensor], kept: torch.Tensor = keep[:, layer]
            ) -> tuple[torch.Tensor]:
                (values,) = args
                at = (rows, asked_of.position)
                return (values.index_put(at, values[at] * kept),)

            stack.callback(down.register_forward_pre_hook(silence).remove)
        logits = _logits(model, asked_of)
    return logits.double().softmax(-1).gather(1, asked_of.target[:, None])[:, 0].numpy()


def random_sets(sets: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """As many neurons of the same layers, drawn anew for each query and layer."""
    return rng.permuted(sets, axis=-1)


def consistency(sets: NDArray[np.bool_]) -> tuple[float, float]:
    """CS2 and D of one fact from its non-empty sets, (query, layer, neuron); NaN if under two.

    CS2 = |{n: c_n > 1}| / |∪ N_i|; D = Σ c_n (c_n − 1) / ((k − 1) Σ c_n).
    """
    used = sets[sets.any((1, 2))]
    k = len(used)
    if k < 2:
        return float("nan"), float("nan")
    counts = used.sum(0)
    return float((counts > 1).sum() / (counts > 0).sum()), float(
        (counts * (counts - 1)).sum() / ((k - 1) * counts.sum())
    )


@dataclass(frozen=True, kw_only=True)
class Separation:
    """One class of facts: consistency over known queries and over all, size of sets, effect of suppression.

    Attributes
    ----------
    cs2_known, dice_known, cs2_all, dice_all : means over facts.
    known : mean number of known queries of a fact.
    size : median number of neurons in a known query's set.
    own, random : median over known queries of the share of P(answer) left with its own neurons at zero, or
        with as many random ones of the same layers.
    """

    facts: int
    known: float
    cs2_known: float
    dice_known: float
    cs2_all: float
    dice_all: float
    size: float
    own: float
    random: float


def separation(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    queries: list[RecallQuery],
    rng: np.random.Generator,
) -> Separation:
    """Measure one class from all the queries of its facts, fact by fact."""
    asked_of = prompts(tokenizer, queries)
    scores = attributions(model, asked_of)
    sets = neuron_sets(scores)
    with torch.no_grad():
        logits = _logits(model, asked_of).double()
    known = (logits.argmax(-1) == asked_of.target).numpy()
    before = logits.softmax(-1).gather(1, asked_of.target[:, None])[:, 0].numpy()
    left = [(suppressed(model, asked_of, s) / before)[known] for s in (sets, random_sets(sets, rng))]
    facts = np.array([q.fact for q in queries])
    rows = [facts == fact for fact in dict.fromkeys(facts.tolist())]
    over_known = np.nanmean([consistency(sets[row & known]) for row in rows], 0)
    over_all = np.nanmean([consistency(sets[row]) for row in rows], 0)
    return Separation(
        facts=len(rows),
        known=float(np.mean([(row & known).sum() for row in rows])),
        cs2_known=over_known[0],
        dice_known=over_known[1],
        cs2_all=over_all[0],
        dice_all=over_all[1],
        size=float(np.median(sets.sum((1, 2))[known])),
        own=float(np.median(left[0])),
        random=float(np.median(left[1])),
    )


def drawn_queries(
    tokenizer: PreTrainedTokenizerFast, facts: Path, n: int, rng: np.random.Generator
) -> dict[FactClass, list[RecallQuery]]:
    """All queries of ``n`` facts of each class, drawn among those whose answer is one token."""
    queries = [q for q in asked(facts) if q.bad is None]
    single = encode(tokenizer, [q.sentence for q in queries]).answer.sum(1).eq(1).tolist()
    usable = [q for q, one in zip(queries, single, strict=True) if one]
    drawn: dict[FactClass, list[RecallQuery]] = {}
    for fact_class in get_args(FactClass):
        ids = list(dict.fromkeys(q.fact for q in usable if q.fact_class == fact_class))
        kept = set(rng.permutation(ids)[:n].tolist())
        drawn[fact_class] = [q for q in usable if q.fact in kept]
    return drawn


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(
        prog="python -m qloc.extract.embedded.training.separation", description=__doc__
    )
    parser.add_argument("--kind", choices=get_args(Kind), action="append")
    parser.add_argument("--folder", type=Path, help="another checkpoint of that kind")
    parser.add_argument("--facts", type=Path, default=facts_path())
    parser.add_argument("--facts-per-class", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    columns = list(Separation.__dataclass_fields__)
    for kind in arguments.kind or get_args(Kind):
        rng = np.random.default_rng(arguments.seed)
        model, tokenizer = load(kind, arguments.folder)
        sys.stdout.write(f"\n{kind:10}" + "".join(f"{c:>11}" for c in columns) + "\n")
        for fact_class, queries in drawn_queries(
            tokenizer, arguments.facts, arguments.facts_per_class, rng
        ).items():
            row = separation(model, tokenizer, queries, rng)
            sys.stdout.write(f"{fact_class:10}" + "".join(f"{getattr(row, c):11.3g}" for c in columns) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
