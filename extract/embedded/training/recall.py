"""Measure how often an embedded model gives the right answer, by class of fact and by template."""

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
    """One query of a fact, with its answer filled in.

    Attributes
    ----------
    fact : str
        Id of the fact.
    fact_class : str
        Class of the fact; ``syntax`` for minimal pairs, ``inverse`` or ``synonyms`` for what a fact entails.
    template : str
        Id of the template.
    seen : bool
        Whether the template taught the right answer of this fact.
    sentence : Sentence
        The query with its right answer.
    bad : Sentence or None
        The query with the bad continuation of a minimal pair.
    """

    fact: str
    fact_class: str
    template: str
    seen: bool
    sentence: Sentence
    bad: Sentence | None = None


def load(kind: Kind, folder: Path | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Load an embedded model, without gradients of its weights, and its tokenizer.

    Parameters
    ----------
    kind : {"causal", "masked"}
        GPT-2 type or BERT type.
    folder : Path or None
        Another checkpoint of that kind; if None, that of the package.

    Returns
    -------
    model : transformers.PreTrainedModel
        The model, in evaluation mode.
    tokenizer : transformers.PreTrainedTokenizerFast
        Its tokenizer.
    """
    folder = folder or checkpoint(kind)
    auto = AutoModelForCausalLM if kind == "causal" else AutoModelForMaskedLM
    model: PreTrainedModel = auto.from_pretrained(folder, dtype="auto").eval().requires_grad_(False)
    return model, PreTrainedTokenizerFast.from_pretrained(folder)


def asked(facts: Path) -> list[RecallQuery]:
    """Return every query of a facts file, with the right answer filled in.

    Parameters
    ----------
    facts : Path
        A facts.jsonl.

    Returns
    -------
    list of RecallQuery
        The queries, in the order of the file.
    """
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


def asked_of_entailed(facts: Path) -> list[RecallQuery]:
    """Return every prompt of what the facts of a file entail, with the right answer filled in.

    Parameters
    ----------
    facts : Path
        A facts.jsonl.

    Returns
    -------
    list of RecallQuery
        The prompts of inverses and synonyms, in the order of the file.
    """
    return [
        prompt
        for line in facts.read_text(encoding="utf-8").splitlines()
        for prompt in _entailed(json.loads(line))
    ]


def _entailed(fact: Mapping[str, Any]) -> Iterator[RecallQuery]:
    inverse = fact.get("inverse")
    asked_for = [("inverse", fact["object"], inverse["object"], inverse["queries"])] if inverse else []
    asked_for += [
        ("synonyms", fact["subject"], group["answer"], group["queries"]) for group in fact.get("synonyms", ())
    ]
    for kind, named, answer, queries in asked_for:
        for query in queries:
            yield RecallQuery(
                fact=fact["id"],
                fact_class=kind,
                template=query["template"],
                seen=fact["attributes"].get("entailment") == "taught",
                sentence=fill(query["text"], named, answer),
            )


@torch.no_grad()
def log_probabilities(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, sentences: list[Sentence], batch: int = 256
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probability of each sentence's answer, and whether all of its tokens rank first.

    A causal model reads the sentence up to each answer token (gold prefix). For a masked model, all tokens of
    the answer are masked at once.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The model.
    tokenizer : transformers.PreTrainedTokenizerFast
        Its tokenizer.
    sentences : list of Sentence
        The sentences.
    batch : int
        Sentences in one pass.

    Returns
    -------
    log_probability : float32 Tensor, shape (sentence,)
        Sum over the answer's tokens.
    first : bool Tensor, shape (sentence,)
        Whether each token of the answer is the likeliest at its position.
    """
    outcomes = [
        _answered(model, tokenizer, sentences[start : start + batch])
        for start in range(0, len(sentences), batch)
    ]
    return torch.cat([outcome[0] for outcome in outcomes]), torch.cat([outcome[1] for outcome in outcomes])


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
    """Return the recall by class of fact, and by whether the template taught the answer.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The model.
    tokenizer : transformers.PreTrainedTokenizerFast
        Its tokenizer.
    facts : Path
        A facts.jsonl.

    Returns
    -------
    dict of (str, str) to (float, int)
        Class and ``"seen"`` or ``"unseen"`` → share of answers that rank first, and number of queries. For
        minimal pairs (class ``syntax``) the share is that of pairs whose good form is likelier than the bad
        one. What facts entail is in classes ``inverse`` and ``synonyms``.
    """
    queries = asked(facts) + asked_of_entailed(facts)
    _, first = log_probabilities(model, tokenizer, [query.sentence for query in queries if query.bad is None])
    rows: dict[tuple[str, str], list[bool]] = {}
    for query, right in zip((query for query in queries if query.bad is None), first.tolist(), strict=True):
        rows.setdefault((query.fact_class, "seen" if query.seen else "unseen"), []).append(right)
    paired = [query for query in queries if query.bad is not None]
    good, _ = log_probabilities(model, tokenizer, [query.sentence for query in paired])
    bad, _ = log_probabilities(model, tokenizer, [query.bad for query in paired if query.bad is not None])
    rows["syntax", "unseen"] = (good > bad).tolist()
    return {key: (sum(right) / len(right), len(right)) for key, right in sorted(rows.items())}
