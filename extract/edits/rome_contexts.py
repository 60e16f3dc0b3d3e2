"""ROME's contexts: beginnings of texts that the model writes itself, over which keys are averaged."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from qloc.extract.models.hooks import without_head
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.tokenizing import Encoder
from qloc.facts import ANSWER_MARK

_LIKELIEST: Final = 5
"""Tokens that each token is drawn among: the likeliest, as in the code of Meng et al. 2022 (unverified)."""


@torch.no_grad()
def own_words(engine: RowEngine, encoder: Encoder, n: int, n_tokens: int, seed: int) -> tuple[str, ...]:
    """Let the model write beginnings of texts.

    A causal model continues its first token. A masked model fills a row of masks from the left.

    Parameters
    ----------
    engine : RowEngine
        Holds the model.
    encoder : Encoder
        Holds the tokenizer.
    n : int
        Number of texts to write.
    n_tokens : int
        Length of each in tokens.
    seed : int
        Seed of the draws, so that every process writes the same texts.

    Returns
    -------
    tuple of str
        Different texts, not empty; possibly fewer than ``n``.
    """
    if n == 0 or n_tokens == 0:
        return ()
    # The key is [plan seed, number of texts, tokens of each]. It is not a Stream: stores hold what it draws.
    masked, rng = encoder.family == "masked", np.random.default_rng([seed, n, n_tokens])
    blank, places = _blank(encoder, n_tokens)
    rows = torch.tensor([blank] * n, device=next(iter(engine.model.parameters())).device)
    for place in places:
        with without_head(engine.sites.head) as states:
            engine.model(input_ids=rows if masked else rows[:, :place])
        logits = engine.head.logits(states[0][:, place if masked else -1])
        rows[:, place] = _drawn(logits, rng)
    written = rows[:, places[0] : places[-1] + 1].tolist()
    texts = [encoder.tokenizer.decode(ids, skip_special_tokens=True) for ids in written]
    texts = [" ".join(text.split()).rstrip(" .") for text in texts]
    return tuple(dict.fromkeys(text for text in texts if text and ANSWER_MARK not in text))


def _blank(encoder: Encoder, n_tokens: int) -> tuple[list[int], list[int]]:
    """Return the tokens that the model begins with, and the positions that it writes in."""
    tokenizer: Any = encoder.tokenizer
    if encoder.family == "masked":
        ids: list[int] = tokenizer(tokenizer.mask_token * n_tokens)["input_ids"]
        return ids, [place for place, token in enumerate(ids) if token == tokenizer.mask_token_id]
    starts = (tokenizer.bos_token_id, tokenizer.eos_token_id, 0)
    start = tokenizer("")["input_ids"] or [next(token for token in starts if token is not None)]
    return [*start, *[0] * n_tokens], list(range(len(start), len(start) + n_tokens))


def _drawn(logits: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw a token for each row among the likeliest, by its probability."""
    best = logits.double().topk(min(_LIKELIEST, logits.shape[1]), dim=1)
    below = best.values.softmax(1).cumsum(1)
    drawn = torch.as_tensor(rng.random(len(logits)), device=logits.device)[:, None]
    place = (below < drawn).sum(1, keepdim=True).clamp_max(best.indices.shape[1] - 1)
    return best.indices.gather(1, place)[:, 0]
