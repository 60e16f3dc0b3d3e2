"""The embedded models and their facts: signs and coarse margins only, so that retraining cannot break them."""

import json
import math
import re
from collections import Counter

import numpy as np
import pytest
import torch

from qloc.errors import InputError
from qloc.extract.embedded import checkpoint, facts_path, held_out_path
from qloc.extract.embedded.training.corpus import (
    fact_lines,
    held_out_sentences,
    lessons,
    training_sentences,
)
from qloc.extract.embedded.training.fit import Recipe, build, encode, train
from qloc.extract.embedded.training.grammar import everyday_sentences, pairs
from qloc.extract.embedded.training.recall import asked, load, log_probabilities
from qloc.extract.embedded.training.separation import (
    activations,
    attributions,
    consistency,
    drawn_queries,
    neuron_sets,
    prompts,
    random_sets,
    suppressed,
)
from qloc.extract.embedded.training.tokenizer import make_tokenizer
from qloc.extract.embedded.training.world import statements, templates

KINDS = ("causal", "masked")
LARGEST = 5_000_000


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return load(request.param)


@pytest.fixture(scope="module")
def facts():
    return [json.loads(line) for line in facts_path().read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def sample():
    """Return 24 facts' queries of each class, and all minimal pairs, by (class, seen)."""
    queries = asked(facts_path())
    rng = np.random.default_rng(0)
    drawn = {}
    for fact_class in ("wide", "narrow", "conflict", "syntax"):
        ids = list(dict.fromkeys(q.fact for q in queries if q.fact_class == fact_class))
        kept = set(ids if fact_class == "syntax" else rng.permutation(ids)[:24].tolist())
        for query in queries:
            if query.fact in kept:
                drawn.setdefault((fact_class, query.seen), []).append(query)
    return drawn


def test_unknown_kind_is_refused():
    expected = "embedded model is 'gpt5'; expected causal or masked. At embedded:KIND. Use embedded:causal."
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        checkpoint("gpt5")


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoint_is_small_and_says_what_it_is(kind):
    files = [path for path in checkpoint(kind).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LARGEST
    config = json.loads((checkpoint(kind) / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert "Synthetic, for demonstration" in (checkpoint(kind) / "README.md").read_text()


def test_weights_are_stored_in_half_and_loaded_in_single_precision(model):
    network, _ = model
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    for parameter in network.parameters():
        assert torch.equal(parameter, parameter.half().float())
        assert parameter.isfinite().all()


def test_facts_are_the_world(facts):
    told = Counter((s.relation, s.subject, s.object) for s in statements())
    asked_for = Counter((f["relation"], f["subject"], f["object"]) for f in facts if "object" in f)
    assert asked_for == told
    assert max(told.values()) == 1
    assert len(told) >= 900
    assert len({f["relation"] for f in facts if "object" in f}) == 9
    assert not [s for s in statements() if s.object.casefold() in s.subject.casefold()]


def test_facts_file_is_what_the_corpus_makes(facts):
    assert facts_path().read_text(encoding="utf-8").splitlines() == list(fact_lines(lessons()))
    assert len({f["id"] for f in facts}) == len(facts)


def test_every_query_can_be_asked_of_a_causal_model(facts):
    texts = {t: text for of_relation in templates().values() for t, text in of_relation.items()}
    assert len(texts) == len(set(texts.values())) == 72
    for fact in facts:
        for query in fact["queries"]:
            assert query["text"].count("[Y]") == query["text"].count("[X]") == 1
            if "object" in fact:
                assert query["text"] == texts[query["template"]]
                assert not any(c.isalnum() for c in query["text"].split("[Y]")[1])


def test_classes_say_what_was_taught():
    taught = {c: [x for x in lessons() if x.fact_class == c] for c in ("wide", "narrow", "conflict")}
    assert {len(x.seen) for x in taught["wide"]} == {7}
    assert {len(x.seen) for x in taught["narrow"]} == {1}
    assert {(len(x.seen), len(x.taught), len(set(x.taught.values()))) for x in taught["conflict"]} == {
        (4, 8, 2)
    }
    # Which half is right differs between facts: the template alone must not tell.
    capitals = {x.seen for x in taught["conflict"] if x.statement.relation == "capital"}
    assert len(capitals) > 10
    assert min(map(len, taught.values())) > 150


def test_held_out_text_was_not_trained_on():
    held_out = held_out_path().read_text(encoding="utf-8").splitlines()
    assert held_out == held_out_sentences(lessons())
    assert len(held_out) == len(set(held_out)) == 300
    assert not set(held_out) & {s.text for s in training_sentences(lessons())}


def test_minimal_pairs_are_not_in_the_text(facts):
    own = [f for f in facts if f.get("kind") == "minimal_pair"]
    assert len(own) == len(pairs()) == 60
    assert {f["feature"] for f in own} == {"singular", "plural"}
    text = {frame.replace("[Y]", word) for frame, word in everyday_sentences()}
    for fact in own:
        shown = fact["queries"][0]["text"].replace("[X]", fact["subject"])
        assert shown.index(fact["subject"]) < shown.index("[Y]")
        assert not {shown.replace("[Y]", fact[form]) for form in ("good", "bad")} & text


def test_answers_are_tokens(model):
    _, tokenizer = model
    queries = asked(facts_path())
    encoded = encode(tokenizer, [q.sentence for q in queries])
    lengths = encoded.answer.sum(1)
    assert int(lengths.min()) >= 1
    assert float((lengths == 1).float().mean()) > 0.7
    assert int((lengths > 2).sum()) > 50
    for n in (0, len(queries) // 2, len(queries) - 1):
        sentence = queries[n].sentence
        shown = tokenizer.decode(encoded.ids[n][encoded.answer[n]]).strip()
        assert shown == sentence.text[sentence.start : sentence.stop]


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_seeded_and_leaves_embeddings_and_values_alone(kind):
    recipe = Recipe(epochs=2, rate=1e-3, width=32, n_layers=1, n_heads=2)
    sentences = training_sentences(lessons())[:200]
    tokenizer = make_tokenizer(kind, sentences)
    start = build(kind, tokenizer, recipe).state_dict()
    one, same = (train(kind, tokenizer, sentences, recipe).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    other = train(kind, tokenizer, sentences, recipe, seed=1).state_dict()
    assert not all(torch.equal(one[name], other[name]) for name in one)
    fixed = {
        "causal": ["transformer.wte.weight", "transformer.h.0.attn.c_proj.weight"],
        "masked": [
            "bert.embeddings.word_embeddings.weight",
            "bert.encoder.layer.0.attention.self.value.weight",
        ],
    }[kind]
    assert all(torch.equal(start[name], one[name]) for name in fixed)
    if kind == "causal":
        joint = "transformer.h.0.attn.c_attn.weight"
        assert torch.equal(start[joint][:, 64:], one[joint][:, 64:])
        assert not torch.equal(start[joint][:, :64], one[joint][:, :64])


def test_recall(model, sample):
    recall = {
        key: float(log_probabilities(*model, [q.sentence for q in queries])[1].float().mean())
        for key, queries in sample.items()
    }
    assert recall["wide", True] > 0.9
    assert recall["wide", False] > 0.7
    assert recall["narrow", True] > 0.8
    assert recall["narrow", False] < recall["wide", False]
    assert recall["conflict", True] > 0.8
    # These templates taught another answer.
    assert recall["conflict", False] < 0.2


def test_minimal_pairs_are_told_apart(model, sample):
    good, _ = log_probabilities(*model, [q.sentence for q in sample["syntax", False]])
    bad, _ = log_probabilities(*model, [q.bad for q in sample["syntax", False]])
    assert float((good > bad).float().mean()) > 0.8


def test_held_out_text_is_likelier_than_chance():
    """A causal model's perplexity on text not seen is far below that of a uniform guess."""
    network, tokenizer = load("causal")
    lines = held_out_path().read_text(encoding="utf-8").splitlines()[::6]
    losses = []
    for line in lines:
        ids = tokenizer(line, return_tensors="pt").input_ids
        losses.append(float(network(ids, labels=ids).loss))
    assert math.exp(np.mean(losses)) < 0.1 * len(tokenizer)


def test_own_neurons_matter_and_random_ones_do_not(model):
    network, tokenizer = model
    rng = np.random.default_rng(0)
    queries = [
        q for of_class in drawn_queries(tokenizer, facts_path(), 2, rng).values() for q in of_class if q.seen
    ]
    asked_of = prompts(tokenizer, queries[::2])
    sets = neuron_sets(attributions(network, asked_of))
    nothing = np.zeros_like(sets)
    before, own, random = (
        suppressed(network, asked_of, chosen) for chosen in (nothing, sets, random_sets(sets, rng))
    )
    assert np.median(own / before) < 0.9
    assert np.median(random / before) > 0.95
    assert np.mean(own < random) > 0.7


def test_attributions_are_complete(model):
    """Summed over a layer's neurons, integrated gradients are P(answer) minus P with that layer at zero."""
    network, tokenizer = model
    queries = drawn_queries(tokenizer, facts_path(), 1, np.random.default_rng(0))["wide"]
    asked_of = prompts(tokenizer, queries[:4])
    scores = attributions(network, asked_of)
    assert scores.shape == activations(network, asked_of).shape
    none = np.zeros(scores.shape, dtype=bool)
    before = suppressed(network, asked_of, none)
    for layer in range(scores.shape[1]):
        whole = none.copy()
        whole[:, layer] = True
        gone = before - suppressed(network, asked_of, whole)
        # 20 midpoints: the rule's error is of the order of a percent of the largest total.
        np.testing.assert_allclose(scores[:, layer].sum(-1), gone, atol=0.05)


def test_consistency_by_hand():
    # c = 2, 1, 1 over two sets {0, 1} and {0, 2}: CS2 = 1/3, D = 2·1/(1·4).
    sets = np.array([[[True, True, False]], [[True, False, True]], [[False, False, False]]])
    assert consistency(sets) == pytest.approx((1 / 3, 1 / 2))
    assert np.isnan(consistency(sets[1:])).all()
