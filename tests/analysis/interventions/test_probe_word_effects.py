"""Words under suppression of N_i and of its control, by brute force."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.paired import log_odds
from qloc.analysis.interventions.knowledge_synapses import AttentionOutcomes
from qloc.analysis.interventions.probe_word_effects import WordChanges, attended_word_effects, word_effects
from qloc.vocabulary import NEURON_SET, OPERATION, QUERY, SYNAPSE_OPERATION, SYNAPSE_SET, WORD

DRAWS = Draws(n_permutations=99)


@pytest.fixture(scope="module")
def probed(changed_study):
    """Relation R01 has its first answer and two other words; the second is a paradigm, with bad forms."""
    group, rng = changed_study.interventions.load(), np.random.default_rng(3)
    relation, answer = (changed_study.column("queries", name).astype(str) for name in ("relation", "answer"))
    names = np.unique(relation)
    kind = np.where(relation == names[1], "minimal_pair", "fact")
    words = {str(name): [str(answer[relation == name][0]), "x", "y"] for name in names}
    shape = group["log_probability"].shape
    base = rng.uniform(-5, -1, (shape[2], 3))
    bad = np.where(kind == "minimal_pair", base[:, 1], np.nan)  # the bad form is probe word x
    after = base - rng.uniform(0, 1, (*shape, 3))
    own = (group[NEURON_SET].values == "own")[None, :, None, None]
    after = np.where(np.isnan(group["log_probability"].values)[..., None], np.nan, after - own)
    arms = (OPERATION, NEURON_SET, QUERY)
    further = {
        "base_word_log_probability": ((QUERY, WORD), base),
        "word_log_probability": ((*arms, WORD), after),
        "base_bad_log_probability": ((QUERY,), bad),
        "bad_log_probability": (arms, np.where(np.isnan(bad), np.nan, after[..., 1])),
    }
    groups = {
        "interventions": group.assign(further).assign_attrs(probes=words),
        "queries": changed_study.queries.assign(
            kind=(QUERY, kind),
            bad_log_probability=(QUERY, changed_study.column("queries", "log_probability") - 1),
        ),
    }
    return replace(changed_study, datasets={**changed_study.datasets, **groups})


def test_a_study_without_probes_has_no_words(changed_study):
    assert word_effects(changed_study, DRAWS) is None


def test_effects_by_brute_force(probed):
    found, table = probed.interventions, word_effects(probed, DRAWS)
    assert table is not None
    relation, answer = (probed.column("queries", name).astype(str) for name in ("relation", "answer"))
    known, leaks = probed.column("queries", "known") == 1, probed.column("facts", "leaks") == 1
    fact = probed.column("queries", "fact")
    names = [str(name) for name in np.unique(relation)]
    change = {
        arm: log_odds(
            found["word_log_probability"].sel({OPERATION: "suppress", NEURON_SET: arm}).values.astype(float)
        )
        - log_odds(found["base_word_log_probability"].values.astype(float))
        for arm in ("own", "matched")
    }
    first = table[(table.relation == names[0]) & (table.word == "other words, mean")].iloc[0]
    by_fact: dict[int, list[float]] = {}
    for query in np.flatnonzero((relation == names[0]) & known & ~leaks[fact]):
        others = [n for n, word in enumerate(found.attrs["probes"][names[0]]) if word != answer[query]]
        x = (change["own"] - change["matched"])[query, others].mean()
        if not np.isnan(x):
            by_fact.setdefault(fact[query], []).append(x)
    assert first.difference == pytest.approx(np.mean([np.mean(x) for x in by_fact.values()]))
    assert first.units == len(by_fact)
    pairs = table[table.relation == names[1]].set_index("word")
    own = found.attrs["probes"][names[1]][0]
    assert pairs.index.tolist() == ["good form", "bad form", own, "y"]  # x is the bad form
    here = (relation == names[1]) & known & ~leaks[fact] & ~np.isnan(change["own"] + change["matched"])[:, 0]
    for word, place, counts in (("bad form", 1, here), ("y", 2, here), (own, 0, here & (answer != own))):
        x = (change["own"] - change["matched"])[counts, place]
        assert pairs.loc[word, "difference"] == pytest.approx(x.mean())
        assert pairs.loc[word, "units"] == counts.sum()
    tested = table.p.notna()
    assert (table.p_adjusted[tested] >= table.p[tested]).all()


def test_words_under_changed_attention_by_brute_force(probed):
    group, rng = probed.synapses.load(), np.random.default_rng(4)
    dims = (SYNAPSE_OPERATION, SYNAPSE_SET, QUERY)
    shape = group["log_probability"].shape
    words = rng.uniform(-6, -1, (*shape, 3))
    bad = np.where(np.isnan(probed.interventions["base_bad_log_probability"].values), np.nan, words[..., 1])
    further = {"word_log_probability": ((*dims, WORD), words), "bad_log_probability": (dims, bad)}
    study = replace(probed, datasets={**probed.datasets, "synapses": group.assign(further)})
    assert attended_word_effects(probed, DRAWS) is None
    table = attended_word_effects(study, DRAWS)
    assert table is not None
    relation, answer = (study.column("queries", name).astype(str) for name in ("relation", "answer"))
    known, leaks = study.column("queries", "known") == 1, study.column("facts", "leaks") == 1
    fact = study.column("queries", "fact")
    equal = AttentionOutcomes.of(study, known=False).equal_mass("random_columns")
    assert 0 < equal.sum()
    name = str(np.unique(relation)[0])
    after = {
        arm: log_odds(words[group[SYNAPSE_OPERATION].values.tolist().index("suppress"), place])
        for place, arm in enumerate(group[SYNAPSE_SET].values.tolist())
    }
    by_fact: dict[int, list[float]] = {}
    for query in np.flatnonzero((relation == name) & known & ~leaks[fact] & equal):
        others = [
            n for n, word in enumerate(study.interventions.attrs["probes"][name]) if word != answer[query]
        ]
        x = (after["knowledge"] - after["random_columns"])[query, others].mean()
        by_fact.setdefault(fact[query], []).append(x)
    row = table[(table.relation == name) & (table.word == "other words, mean")].iloc[0]
    assert row.difference == pytest.approx(np.mean([np.mean(x) for x in by_fact.values()]))
    assert row.units == len(by_fact)
    changes = WordChanges.of_synapses(study)
    assert changes is not None
    assert np.isnan(changes.change["own"][~equal]).all()
