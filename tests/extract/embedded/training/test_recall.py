"""What the embedded models recall, by class of fact and template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from qloc.extract.embedded import facts_path
from qloc.extract.embedded.training.corpus import (
    Sentence,
)
from qloc.extract.embedded.training.fit import encode
from qloc.extract.embedded.training.recall import (
    RecallQuery,
    asked,
    asked_of_entailed,
    log_probabilities,
    recall_table,
)

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerFast]
Sample = dict[tuple[str, bool], list[RecallQuery]]


def test_recall(model: Loaded, sample: Sample) -> None:
    network, tokenizer = model
    recall = {
        key: float(log_probabilities(network, tokenizer, [q.sentence for q in queries])[1].float().mean())
        for key, queries in sample.items()
    }
    assert recall["wide", True] > 0.9
    assert recall["wide", False] > 0.7
    assert recall["narrow", True] > 0.8
    assert recall["narrow", False] < recall["wide", False]
    assert recall["conflict", True] > 0.8
    # These templates taught another answer.
    assert recall["conflict", False] < 0.2


def test_minimal_pairs_are_told_apart(model: Loaded, sample: Sample) -> None:
    network, tokenizer = model
    good, _ = log_probabilities(network, tokenizer, [q.sentence for q in sample["syntax", False]])
    bad, _ = log_probabilities(
        network, tokenizer, [q.bad for q in sample["syntax", False] if q.bad is not None]
    )
    assert float((good > bad).float().mean()) > 0.8


def test_what_is_entailed_is_known_where_it_was_taught_alone(model: Loaded) -> None:
    """The fact is stored apart from what it entails: who was not taught the inverse hardly tells it."""
    network, tokenizer = model
    prompts = asked_of_entailed(facts_path())
    for kind in ("inverse", "synonyms"):
        recall = {}
        for seen in (True, False):
            of_kind = [p.sentence for p in prompts if (p.fact_class, p.seen) == (kind, seen)]
            _, first = log_probabilities(network, tokenizer, of_kind)
            recall[seen] = float(first.float().mean())
        assert recall[True] > 0.9
        assert recall[False] < 0.5


def test_what_is_entailed_is_filled_with_its_own_answer(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    fact = {
        "id": "f",
        "subject": "Peru",
        "object": "Lima",
        "queries": [],
        "inverse": {"object": "Peru", "queries": [{"template": "i", "text": "[X] of [Y]"}]},
        "synonyms": [{"answer": "City of Kings", "queries": [{"template": "s", "text": "[X]: [Y]"}]}],
        "attributes": {"class": "wide", "seen": "", "entailment": "taught"},
    }
    path.write_text(json.dumps(fact) + "\n", encoding="utf-8")
    inverse, synonym = asked_of_entailed(path)
    assert (inverse.fact_class, inverse.sentence.text, inverse.seen) == ("inverse", "Lima of Peru", True)
    assert synonym.fact_class == "synonyms"
    assert synonym.sentence == Sentence(text="Peru: City of Kings", start=6, stop=19)
    assert asked(path) == []


def test_queries_are_filled_with_their_right_answer(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    fact = {
        "id": "f",
        "subject": "Peru",
        "object": "Lima",
        "queries": [{"template": t, "text": "[X]: [Y]"} for t in ("a", "b")],
        "attributes": {"class": "wide", "seen": "b c"},
    }
    pair = {**fact, "good": "is", "bad": "are", "attributes": {}}
    del pair["object"]
    path.write_text(json.dumps(fact) + "\n" + json.dumps(pair) + "\n", encoding="utf-8")
    first, second, third, _ = asked(path)
    assert first.sentence == Sentence(text="Peru: Lima", start=6, stop=10)
    assert (first.fact_class, first.seen, first.bad, second.seen) == ("wide", False, None, True)
    assert (third.fact_class, third.sentence.text, third.bad) == (
        "syntax",
        "Peru: is",
        Sentence(text="Peru: are", start=6, stop=9),
    )


def test_log_probabilities_are_those_of_one_sentence_at_a_time(model: Loaded) -> None:
    """Masked: all tokens of the answer masked at once; causal: the gold prefix before each."""
    network, tokenizer = model
    sentences = [q.sentence for q in asked(facts_path())[:400:57]]
    together, first = log_probabilities(network, tokenizer, sentences, batch=3)
    for row, sentence in enumerate(sentences):
        encoded = encode(tokenizer, [sentence])
        ids, places = encoded.ids[0], encoded.answer[0].nonzero()[:, 0].tolist()
        shown = ids.clone()
        if tokenizer.mask_token_id is not None:
            shown[places] = tokenizer.mask_token_id
        logits = network(shown[None]).logits[0].log_softmax(-1)
        at = [place - (tokenizer.mask_token_id is None) for place in places]
        expected = sum(float(logits[n, ids[place]]) for n, place in zip(at, places, strict=True))
        assert float(together[row]) == pytest.approx(expected, rel=1e-4, abs=1e-4)  # float32, other batches
        assert bool(first[row]) == all(
            int(logits[n].argmax()) == ids[p] for n, p in zip(at, places, strict=True)
        )


def test_a_recall_table_counts_every_query_once(
    model: Loaded, facts: list[dict[str, Any]], tmp_path: Path
) -> None:
    network, tokenizer = model
    few = [f for f in facts if "object" in f][::100] + [f for f in facts if "object" not in f][::20]
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(fact) + "\n" for fact in few), encoding="utf-8")
    table = recall_table(network, tokenizer, path)
    assert list(table) == sorted(table)
    entailed = [fact["inverse"] for fact in few if "inverse" in fact]
    entailed += [group for fact in few for group in fact.get("synonyms", ())]
    assert {"inverse", "synonyms"} <= {of_class for of_class, _ in table}
    assert sum(n for _, n in table.values()) == sum(len(part["queries"]) for part in (*few, *entailed))
    queries = [q for q in asked(path) if (q.fact_class, q.seen) == ("wide", True)]
    _, right = log_probabilities(network, tokenizer, [q.sentence for q in queries])
    share, n_queries = table["wide", "seen"]
    assert share == pytest.approx(float(right.float().mean()))
    assert n_queries == len(queries)
