"""What a model writes by itself: contexts that keys are averaged over."""

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
"""Each token is drawn among so many, as the code of Meng et al. 2022 does (unverified)."""


@torch.no_grad()
def own_words(engine: RowEngine, encoder: Encoder, n: int, n_tokens: int, seed: int) -> tuple[str, ...]:
    """Beginnings of texts as the model would write them; fewer where one is empty or another's equal.

    A causal model writes on from its first token; a masked one fills a row of masks from the left.

    Parameters
    ----------
    n_tokens : tokens of each.
    seed : of the draws, so that every process has the same.
    """
    if n == 0 or n_tokens == 0:
        return ()
    masked, rng = encoder.family == "masked", np.random.default_rng([seed, n, n_tokens])
    blank, places = _blank(encoder, n_tokens)
    rows = torch.tensor([blank] * n, device=next(iter(engine.model.parameters())).device)
    for place in places:
        with without_head(engine.sites.head) as given:
            engine.model(input_ids=rows if masked else rows[:, :place])
        logits = engine.head.logits(given[0][:, place if masked else -1])
        rows[:, place] = _drawn(logits, rng)
    written = rows[:, places[0] : places[-1] + 1].tolist()
    texts = [encoder.tokenizer.decode(ids, skip_special_tokens=True) for ids in written]
    texts = [" ".join(text.split()).rstrip(" .") for text in texts]
    return tuple(dict.fromkeys(text for text in texts if text and ANSWER_MARK not in text))


def _blank(encoder: Encoder, n_tokens: int) -> tuple[list[int], list[int]]:
    """What the model begins with, and the places that it writes in."""
    tokenizer: Any = encoder.tokenizer
    if encoder.family == "masked":
        ids: list[int] = tokenizer(tokenizer.mask_token * n_tokens)["input_ids"]
        return ids, [place for place, token in enumerate(ids) if token == tokenizer.mask_token_id]
    named = (tokenizer.bos_token_id, tokenizer.eos_token_id, 0)
    start = tokenizer("")["input_ids"] or [next(token for token in named if token is not None)]
    return [*start, *[0] * n_tokens], list(range(len(start), len(start) + n_tokens))


def _drawn(logits: Tensor, rng: np.random.Generator) -> Tensor:
    """A token of each row, among the likeliest."""
    best = logits.double().topk(min(_LIKELIEST, logits.shape[1]), dim=1)
    below = best.values.softmax(1).cumsum(1)
    drawn = torch.as_tensor(rng.random(len(logits)), device=logits.device)[:, None]
    place = (below < drawn).sum(1, keepdim=True).clamp_max(best.indices.shape[1] - 1)
    return best.indices.gather(1, place)[:, 0]
