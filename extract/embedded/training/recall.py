"""How often an embedded model answers its facts and minimal pairs rightly, by class and template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from qloc.extract.embedded import Kind, checkpoint
from qloc.extract.embedded.training.corpus import Sentence, fill
from qloc.extract.embedded.training.fit import encode


@dataclass(frozen=True, kw_only=True)
class RecallQuery:
    """One query of a fact, its class (``syntax`` for pairs), and whether its template taught the answer."""

    fact: str
    fact_class: str
    template: str
    seen: bool
    sentence: Sentence
    bad: Sentence | None = None


def load(kind: Kind, folder: Path | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """An embedded model, without parameter gradients, and its tokenizer; from ``folder`` if that is given."""
    folder = folder or checkpoint(kind)
    auto = AutoModelForCausalLM if kind == "causal" else AutoModelForMaskedLM
    model: PreTrainedModel = auto.from_pretrained(folder, dtype="auto").eval().requires_grad_(False)
    return model, PreTrainedTokenizerFast.from_pretrained(folder)


def asked(facts: Path) -> list[RecallQuery]:
    """Every query of a facts file, the right answer filled in."""
    return [
        query
        for line in facts.read_text(encoding="utf-8").splitlines()
        for query in _queries(json.loads(line))
    ]


def _queries(fact: Mapping[str, Any]) -> Iterator[RecallQuery]:
    attributes = fact["attributes"]
    for query in fact["queries"]:
        filled = {
            form: fill(query["text"], fact["subject"], fact[form])
            for form in ("object", "good", "bad")
            if form in fact
        }
        yield RecallQuery(
            fact=fact["id"],
            fact_class=attributes.get("class", "syntax"),
            template=query["template"],
            seen=query["template"] in attributes.get("seen", "").split(),
            sentence=filled.get("object") or filled["good"],
            bad=filled.get("bad"),
        )


@torch.no_grad()
def log_probabilities(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, sentences: list[Sentence], batch: int = 256
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each sentence's answer, and whether each of its tokens ranks first.

    A causal model reads the sentence up to each answer token (gold prefix); a masked one has all of the
    answer's tokens masked at once.

    Returns
    -------
    log_probability : float32, (sentence,), the sum over the answer's tokens.
    first : bool, (sentence,).
    """
    outcomes = [
        _answered(model, tokenizer, sentences[n : n + batch]) for n in range(0, len(sentences), batch)
    ]
    return torch.cat([o[0] for o in outcomes]), torch.cat([o[1] for o in outcomes])


def _answered(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, sentences: list[Sentence]
) -> tuple[torch.Tensor, torch.Tensor]:
    encoded = encode(tokenizer, sentences)
    ids, answer = encoded.ids, encoded.answer
    if tokenizer.mask_token_id is None:
        logits = model(ids, attention_mask=encoded.real).logits[:, :-1]
        targets, answer = ids[:, 1:], answer[:, 1:]
    else:
        shown = ids.masked_fill(answer, tokenizer.mask_token_id)
        logits, targets = model(shown, attention_mask=encoded.real).logits, ids
    gold = logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    first = logits.argmax(-1) == targets
    return gold.masked_fill(~answer, 0.0).sum(1), (first | ~answer).all(1)


def recall_table(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, facts: Path
) -> dict[tuple[str, str], tuple[float, int]]:
    """Recall by class and by template seen or not: share of answers that rank first, number of queries.

    For minimal pairs (class ``syntax``): share where the good form is likelier than the bad one.
    """
    queries = asked(facts)
    _, first = log_probabilities(model, tokenizer, [q.sentence for q in queries if q.bad is None])
    rows: dict[tuple[str, str], list[bool]] = {}
    for query, right in zip((q for q in queries if q.bad is None), first.tolist(), strict=True):
        rows.setdefault((query.fact_class, "seen" if query.seen else "unseen"), []).append(right)
    paired = [q for q in queries if q.bad is not None]
    good, _ = log_probabilities(model, tokenizer, [q.sentence for q in paired])
    bad, _ = log_probabilities(model, tokenizer, [q.bad for q in paired if q.bad is not None])
    rows["syntax", "unseen"] = (good > bad).tolist()
    return {key: (sum(right) / len(right), len(right)) for key, right in sorted(rows.items())}
