"""Train an embedded model from its sentences, with a seed.

Token embeddings and the values and outputs of attention stay at their random start. Attention may then learn
where to look, and it moves what it reads, but it cannot store a fact, nor can a subject's embedding. Facts
must be stored in the MLPs, where knowledge neurons are sought. (If everything is trained, so small a model
stores much of it elsewhere: setting a query's own neurons to zero then had a smaller effect.)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from qloc.extract.embedded import Kind
from qloc.extract.embedded.training.corpus import Sentence

Model = GPT2LMHeadModel | BertForMaskedLM

_FIXED = (
    "wte.weight",
    "attn.c_proj.weight",
    "word_embeddings.weight",
    "attention.self.value.weight",
    "attention.output.dense.weight",
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is built and trained.

    Attributes
    ----------
    epochs : int
        Number of passes over the text.
    rate : float
        Highest learning rate. It is reached after a tenth of the steps; then the rate falls to zero along a
        cosine.
    width : int
        Width of the hidden states. Each MLP has four times as many neurons.
    n_layers : int
        Number of blocks.
    n_heads : int
        Number of attention heads in a block.
    batch : int
        Sentences in one step.
    elsewhere : float
        Weight in the loss of a token outside the answer, where an answer's token has weight 1 (causal).
    answers : float
        Share of the sentences whose answer is masked. In the others, random words are masked (masked).
    """

    epochs: int
    rate: float
    width: int = 128
    n_layers: int = 4
    n_heads: int = 4
    batch: int = 128
    elsewhere: float = 0.1
    answers: float = 0.85


RECIPES: Mapping[Kind, Recipe] = {
    "causal": Recipe(epochs=16, rate=3e-3),
    "masked": Recipe(epochs=20, rate=2e-3),
}


@dataclass(frozen=True)
class Encoded:
    """Sentences as token ids, padded at the right.

    Attributes
    ----------
    ids : int64 Tensor, shape (sentence, token)
        Token ids.
    real : bool Tensor, shape (sentence, token)
        Tokens that are not padding.
    answer : bool Tensor, shape (sentence, token)
        Tokens of the answer.
    special : bool Tensor, shape (sentence, token)
        Special tokens, padding included.
    """

    ids: torch.Tensor
    real: torch.Tensor
    answer: torch.Tensor
    special: torch.Tensor


def encode(tokenizer: PreTrainedTokenizerFast, sentences: list[Sentence]) -> Encoded:
    """Tokenize sentences. A token that touches the answer's characters belongs to the answer.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        The tokenizer.
    sentences : list of Sentence
        The sentences.

    Returns
    -------
    Encoded
        Token ids and masks.
    """
    out = tokenizer(
        [s.text for s in sentences],
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        padding=True,
        return_tensors="pt",
    )
    begin, end = out["offset_mapping"].unbind(-1)
    start = torch.tensor([[s.start] for s in sentences])
    stop = torch.tensor([[s.stop] for s in sentences])
    real = out["attention_mask"].bool()
    return Encoded(
        ids=out["input_ids"],
        real=real,
        answer=real & (end > begin) & (end > start) & (begin < stop),
        special=out["special_tokens_mask"].bool(),
    )


def build(kind: Kind, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int = 0) -> Model:
    """Build an untrained model.

    Parameters
    ----------
    kind : {"causal", "masked"}
        GPT-2 type or BERT type.
    tokenizer : transformers.PreTrainedTokenizerFast
        The model's tokenizer.
    recipe : Recipe
        The model's shape.
    seed : int
        Seed of the initial weights.

    Returns
    -------
    transformers.GPT2LMHeadModel or transformers.BertForMaskedLM
        The model, with embeddings and the values and outputs of attention frozen.
    """
    torch.manual_seed(seed)
    size = len(tokenizer)
    model: Model
    if kind == "causal":
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=size,
                n_embd=recipe.width,
                n_layer=recipe.n_layers,
                n_head=recipe.n_heads,
                n_positions=64,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=tokenizer.eos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    else:
        model = BertForMaskedLM(
            BertConfig(
                vocab_size=size,
                hidden_size=recipe.width,
                num_hidden_layers=recipe.n_layers,
                num_attention_heads=recipe.n_heads,
                intermediate_size=4 * recipe.width,
                max_position_embeddings=64,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    _freeze(model, recipe.width)
    return model


def _freeze(model: Model, width: int) -> None:
    """Draw embeddings, values and outputs of attention with variance 1 / width, and freeze them."""
    for name, matrix in model.named_parameters():
        if name.endswith("attn.c_attn.weight"):
            # Queries, keys and values are columns of one matrix: only the values' gradient is dropped.
            torch.nn.init.normal_(matrix.data[:, 2 * width :], std=width**-0.5)
            matrix.register_hook(partial(_without_values, width=width))
        elif name.endswith(_FIXED):
            torch.nn.init.normal_(matrix, std=width**-0.5)
            matrix.requires_grad_(False)


def _without_values(gradient: torch.Tensor, width: int) -> torch.Tensor:
    """Return the gradient of a joint matrix of queries, keys and values, with zeros for the values."""
    kept = gradient.clone()
    kept[:, 2 * width :] = 0.0
    return kept


def train(
    kind: Kind,
    tokenizer: PreTrainedTokenizerFast,
    sentences: list[Sentence],
    recipe: Recipe | None = None,
    seed: int = 0,
) -> Model:
    """Train a model.

    Parameters
    ----------
    kind : {"causal", "masked"}
        GPT-2 type or BERT type.
    tokenizer : transformers.PreTrainedTokenizerFast
        The model's tokenizer.
    sentences : list of Sentence
        The training text.
    recipe : Recipe or None
        Shape and schedule; if None, that of the kind in ``RECIPES``.
    seed : int
        Seed of initial weights, batches and masks.

    Returns
    -------
    transformers.GPT2LMHeadModel or transformers.BertForMaskedLM
        The trained model, in evaluation mode.
    """
    recipe = recipe or RECIPES[kind]
    model = build(kind, tokenizer, recipe, seed)
    model.train()
    encoded = encode(tokenizer, sentences)
    rng = np.random.default_rng(seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=recipe.rate, betas=(0.9, 0.98))
    n_steps = recipe.epochs * math.ceil(len(sentences) / recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / n_steps))
    for epoch in range(recipe.epochs):
        total = 0.0
        for rows in _batches(len(sentences), recipe.batch, rng):
            loss = _loss(model, encoded, rows, tokenizer.mask_token_id, recipe, rng)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        logger.info("%s: epoch %d of %d, loss %.4f", kind, epoch + 1, recipe.epochs, total / len(sentences))
    model.eval()  # type: ignore[no-untyped-call]
    return model


def _rate(progress: float) -> float:
    """Return the learning rate as a share of the highest, given the share of steps that are done."""
    if progress < 0.1:
        return progress / 0.1
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))


def _batches(n: int, size: int, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    order = torch.from_numpy(rng.permutation(n))
    yield from order.split(size)


def _loss(
    model: Model,
    encoded: Encoded,
    rows: torch.Tensor,
    mask: int,
    recipe: Recipe,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Return the weighted mean of −log P over the tokens that are learned from."""
    longest = int(encoded.real[rows].sum(1).max())
    ids, real = encoded.ids[rows, :longest], encoded.real[rows, :longest]
    answer, special = encoded.answer[rows, :longest], encoded.special[rows, :longest]
    if isinstance(model, GPT2LMHeadModel):
        states = model.transformer(ids, attention_mask=real)[0][:, :-1]
        # A quarter of the other tokens, drawn anew each time, costs less and teaches the same.
        drawn = torch.from_numpy(rng.random((len(rows), longest - 1)) < 0.25)
        targets, learned = ids[:, 1:], answer[:, 1:] | (real[:, 1:] & drawn)
        weight = torch.where(answer[:, 1:], 1.0, recipe.elsewhere)[learned]
        logits = model.lm_head(states[learned])
    else:
        learned = _masked(answer, real & ~special, recipe, rng)
        states = model.bert(ids.masked_fill(learned, mask), attention_mask=real)[0]
        targets, weight = ids, torch.ones(int(learned.sum()))
        logits = model.cls(states[learned])
    losses = functional.cross_entropy(logits, targets[learned], reduction="none")
    return (losses * weight).sum() / weight.sum()


def _masked(
    answer: torch.Tensor, words: torch.Tensor, recipe: Recipe, rng: np.random.Generator
) -> torch.Tensor:
    """Return which tokens to mask.

    In most sentences these are all tokens of the answer at once; in the others, random words.
    """
    draws = torch.from_numpy(rng.random(words.shape))
    # The lowest draw of each sentence is masked in any case.
    lowest = draws.masked_fill(~words, 2.0)
    at_random = words & ((draws < 0.15) | (lowest == lowest.min(1, keepdim=True).values))
    whole = torch.from_numpy(rng.random((len(words), 1)) < recipe.answers)
    return torch.where(whole, answer, at_random)
