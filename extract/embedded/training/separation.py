"""Check by brute force, without qloc's engine, whether neuron sets tell the classes of facts apart.

    python -m qloc.extract.embedded.training.separation [--kind KIND] [--facts-per-class 40] [--seed 0]

Integrated gradients are taken with 20 midpoints from a zero baseline, for the vector of one layer at the
target position at a time. A query's neurons are those with a score above 0.2 of the largest in the network.
Only facts whose answer is one token are used.
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
    """Prompts whose answer is one token.

    Attributes
    ----------
    ids : int64 Tensor, shape (query, token)
        Token ids, padded at the right; the answer is masked (masked models).
    real : bool Tensor, shape (query, token)
        Tokens that are not padding.
    position : int64 Tensor, shape (query,)
        Position at which the answer is predicted.
    target : int64 Tensor, shape (query,)
        Token id of the answer.
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
    """Return the prompts of queries whose answer is one token.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        The model's tokenizer.
    queries : sequence of RecallQuery
        The queries.

    Returns
    -------
    Prompts
        One row for each query.
    """
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
    """Return the second matrix of each layer's MLP, whose input is the layer's neurons.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        An embedded model.

    Returns
    -------
    list of torch.nn.Module
        One module for each layer.
    """
    gpt2 = model.config.model_type == "gpt2"
    name = "transformer.h.{}.mlp.c_proj" if gpt2 else "bert.encoder.layer.{}.output.dense"
    return [model.get_submodule(name.format(n)) for n in range(model.config.num_hidden_layers)]


def _logits(model: PreTrainedModel, inputs: Prompts) -> torch.Tensor:
    """Return the logits at the target position, shape (query, vocabulary)."""
    logits: torch.Tensor = model(inputs.ids, attention_mask=inputs.real).logits
    return logits[torch.arange(len(inputs)), inputs.position]


@contextmanager
def _replaced(down: torch.nn.Module, inputs: Prompts, vectors: torch.Tensor) -> Iterator[None]:
    """Replace a layer's neurons at each query's target position by ``vectors``, shape (query, neuron)."""
    rows = torch.arange(len(inputs))

    def replace(_: torch.nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        (values,) = args
        return (values.index_put((rows, inputs.position), vectors),)

    handle = down.register_forward_pre_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def activations(model: PreTrainedModel, inputs: Prompts) -> torch.Tensor:
    """Return the activations of all neurons at the target position.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        An embedded model.
    inputs : Prompts
        The prompts.

    Returns
    -------
    float32 Tensor, shape (query, layer, neuron)
        The activations.
    """
    caught: list[torch.Tensor] = []
    rows = torch.arange(len(inputs))
    with ExitStack() as stack:
        for down in down_projections(model):
            handle = down.register_forward_pre_hook(
                lambda _, args: caught.append(args[0][rows, inputs.position])
            )
            stack.callback(handle.remove)
        _logits(model, inputs)
    return torch.stack(caught, 1)


def attributions(model: PreTrainedModel, inputs: Prompts, batch: int = 128) -> NDArray[np.float32]:
    """Return integrated gradients of P(answer), layer by layer.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        An embedded model.
    inputs : Prompts
        The prompts.
    batch : int
        Queries in one pass.

    Returns
    -------
    float32 ndarray, shape (query, layer, neuron)
        The attributions.
    """
    parts = [
        _attributed(model, inputs[slice(start, start + batch)]) for start in range(0, len(inputs), batch)
    ]
    return torch.cat(parts).numpy()


def _attributed(model: PreTrainedModel, inputs: Prompts) -> torch.Tensor:
    values = activations(model, inputs)
    scores = torch.zeros_like(values)
    for layer, down in enumerate(down_projections(model)):
        for k in range(STEPS):
            leaf = ((k + 0.5) / STEPS * values[:, layer]).requires_grad_()
            with _replaced(down, inputs, leaf):
                right = _logits(model, inputs).softmax(-1).gather(1, inputs.target[:, None])
            scores[:, layer] += torch.autograd.grad(right.sum(), leaf)[0] / STEPS
    return scores * values


def neuron_sets(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which neurons have a score above ``THRESHOLD`` of the largest score in the network.

    Parameters
    ----------
    scores : float32 ndarray, shape (query, layer, neuron)
        Attributions.

    Returns
    -------
    bool ndarray, shape (query, layer, neuron)
        The neuron set of each query.
    """
    sets: NDArray[np.bool_] = scores > THRESHOLD * scores.max((1, 2), keepdims=True)
    return sets


@torch.no_grad()
def suppressed(model: PreTrainedModel, inputs: Prompts, sets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return P(answer) of each query with its own set of neurons at zero.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        An embedded model.
    inputs : Prompts
        The prompts.
    sets : bool ndarray, shape (query, layer, neuron)
        The neurons that are set to zero.

    Returns
    -------
    float64 ndarray, shape (query,)
        The probabilities.
    """
    keep = torch.from_numpy(~sets)
    rows = torch.arange(len(inputs))
    with ExitStack() as stack:
        for layer, down in enumerate(down_projections(model)):

            def silence(
                _: torch.nn.Module, args: tuple[torch.Tensor], kept: torch.Tensor = keep[:, layer]
            ) -> tuple[torch.Tensor]:
                (values,) = args
                at = (rows, inputs.position)
                return (values.index_put(at, values[at] * kept),)

            stack.callback(down.register_forward_pre_hook(silence).remove)
        logits = _logits(model, inputs)
    return logits.double().softmax(-1).gather(1, inputs.target[:, None])[:, 0].numpy()


def random_sets(sets: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw as many neurons of the same layers, anew for each query and layer.

    Parameters
    ----------
    sets : bool ndarray, shape (query, layer, neuron)
        The sets whose sizes are kept.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    bool ndarray, shape (query, layer, neuron)
        Random sets.
    """
    return rng.permuted(sets, axis=-1)


def consistency(sets: NDArray[np.bool_]) -> tuple[float, float]:
    """Return CS2 and D of one fact, from its sets that are not empty.

    CS2 = |{n: c_n > 1}| / |∪ N_i|; D = Σ c_n (c_n − 1) / ((k − 1) Σ c_n), where c_n is the number of the k
    sets that contain neuron n.

    Parameters
    ----------
    sets : bool ndarray, shape (query, layer, neuron)
        The sets of the fact's queries.

    Returns
    -------
    cs2 : float
        CS2; NaN if fewer than two sets are not empty.
    dice : float
        D; NaN if fewer than two sets are not empty.
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
    """How one class of facts looks: consistency, size of the sets, effect of suppression.

    Attributes
    ----------
    facts : int
        Number of facts.
    known : float
        Mean number of known queries of a fact: those whose answer ranks first.
    cs2_known : float
        CS2 over known queries, mean over facts.
    dice_known : float
        D over known queries, mean over facts.
    cs2_all : float
        CS2 over all queries, mean over facts.
    dice_all : float
        D over all queries, mean over facts.
    size : float
        Median number of neurons in the set of a known query.
    own : float
        Share of P(answer) that is left with the query's own neurons at zero; median over known queries.
    random : float
        The same with as many random neurons of the same layers at zero.
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
    """Measure one class from all queries of its facts.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        An embedded model.
    tokenizer : transformers.PreTrainedTokenizerFast
        Its tokenizer.
    queries : list of RecallQuery
        All queries of the facts of one class.
    rng : numpy.random.Generator
        Source of the random sets.

    Returns
    -------
    Separation
        The class's row of the table.
    """
    inputs = prompts(tokenizer, queries)
    scores = attributions(model, inputs)
    sets = neuron_sets(scores)
    with torch.no_grad():
        logits = _logits(model, inputs).double()
    known = (logits.argmax(-1) == inputs.target).numpy()
    before = logits.softmax(-1).gather(1, inputs.target[:, None])[:, 0].numpy()
    left = [(suppressed(model, inputs, chosen) / before)[known] for chosen in (sets, random_sets(sets, rng))]
    facts = np.array([query.fact for query in queries])
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
    """Draw ``n`` facts of each class, among those whose answer is one token, and return all of their queries.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        The model's tokenizer.
    facts : Path
        A facts.jsonl.
    n : int
        Number of facts of each class.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    dict of str to list of RecallQuery
        Class of facts → queries.
    """
    queries = [query for query in asked(facts) if query.bad is None]
    single = encode(tokenizer, [query.sentence for query in queries]).answer.sum(1).eq(1).tolist()
    usable = [query for query, is_single in zip(queries, single, strict=True) if is_single]
    drawn: dict[FactClass, list[RecallQuery]] = {}
    for fact_class in get_args(FactClass):
        ids = list(dict.fromkeys(query.fact for query in usable if query.fact_class == fact_class))
        kept = set(rng.permutation(ids)[:n].tolist())
        drawn[fact_class] = [query for query in usable if query.fact in kept]
    return drawn


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table for each model.

    Parameters
    ----------
    argv : sequence of str or None
        Command line arguments; those of the process, if None.
    """
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
