"""analyze(): all questions on planted data, degenerate studies, round trip, no torch."""

import json
import subprocess
import sys

import numpy as np
import pytest

from qloc.analysis.analyze import analyze
from qloc.analysis.questions.single_facts import choose, halves
from qloc.analysis.results import StudyResult, load, plain
from qloc.plan import AnalysisPlan
from qloc.simulation.simulate import simulate

PLAN = AnalysisPlan(n_permutations=99, n_bootstrap=99)
TABLES = {
    "counts": ["counts_by_relation", "left_out"],
    "consistency": ["consistency_overall", "consistency_by_relation", "by_attribute"],
    "ratio": [
        "ki_by_threshold",
        "ki_by_threshold_cs1",
        "ki_by_relation",
        "ki_across_methods",
        "ki_method_pairs",
        "rarefaction",
        "set_sizes",
    ],
    "overlap": ["overlap_decomposition", "overlap_by_relation"],
    "stability": ["reliability_by_relation", "tilt_distribution"],
    "methods": ["method_agreement"],
    "behaviour": ["behaviour_slopes", "behaviour_by_kappa"],
    "sensitivity": ["multiverse", "by_budget"],
    "layers": ["layer_profile"],
    "welch": ["welch"],
    "heatmap": [
        "heatmap_most_consistent",
        "heatmap_typical",
        "heatmap_least_consistent",
        "activation_typical",
    ],
    "quality": ["completeness", "completeness_by_layer", "by_method"],
}


@pytest.fixture(scope="module")
def result(study) -> StudyResult:
    return analyze(study, PLAN)


def frame(result, question, table):
    return result.question(question).table(table).to_frame()


def test_questions_and_tables(result):
    assert {q.id: [t.name for t in q.tables] for q in result.questions} == TABLES
    for question in result.questions:
        assert question.answer.endswith(".")
        assert question.method
        for table in question.tables:
            assert len({len(cells) for cells in table.columns.values()}) == 1, table.name
            assert set(table.labels) <= set(table.columns), table.name


def test_round_trip(result, tmp_path):
    result.save(tmp_path / "a")
    load(tmp_path / "a").save(tmp_path / "b")
    first, second = ((tmp_path / name / "study.json").read_bytes() for name in "ab")
    assert first == second
    assert json.loads(first)["plan"] == PLAN.model_dump(mode="json")


def test_same_study_same_plan_same_bytes(study, dense_study, result, tmp_path):
    """And the tier does not matter, but where it is named."""
    for name, again in (("same", analyze(study, PLAN)), ("dense", analyze(dense_study, PLAN))):
        assert plain(again.questions[1:]) == plain(result.questions[1:]) or name == "dense"
        # A dense store can fill budgets that a panel refuses.
        tables, expected = (
            [t for q in one.questions for t in q.tables if t.name != "by_budget"] for one in (again, result)
        )
        assert tables == expected


def test_counts_add_up(study, result):
    counts = result.counts
    by_relation = frame(result, "counts", "counts_by_relation")
    facts = by_relation[by_relation.kind == "fact"]
    assert counts["facts"] == 40 == facts.facts.sum()
    assert counts["minimal pairs"] == 6
    assert counts["queries"] == facts.queries.sum()
    assert facts.known.sum() == int(np.sum(study.neurons().known().queries["kind"] == "fact"))
    assert counts["not asked: planted as not askable"] == 40 * 4 - counts["queries"]
    assert facts.one_to_one.tolist() == [False, False, False, True]


def test_minimal_pairs_have_no_consistency_and_are_counted(result):
    rows = frame(result, "consistency", "consistency_by_relation").set_index("relation")
    assert rows.loc["paradigm-1", "facts"] == 0
    assert rows.loc["paradigm-1", "undefined"] > 0
    assert np.isnan(rows.loc["paradigm-1", "kappa"])
    assert set(frame(result, "layers", "layer_profile").group) == {"facts", "minimal pairs"}


def test_confirmatory_tests_are_corrected_together(result):
    tests = {t.name: t for t in result.tests()}
    assert tests["H1a"].family == tests["H1b"].family == "confirmatory (Holm, 2 tests)"
    smaller = min(tests["H1a"].p, tests["H1b"].p)
    assert min(t.p_adjusted for t in (tests["H1a"], tests["H1b"])) == pytest.approx(2 * smaller)
    assert tests["H1a"].store == result.provenance["store fingerprint"]


def test_a_plan_may_confirm_less(study):
    found = {t.name: t for t in analyze(study, PLAN.model_copy(update={"confirmatory": ("H1a",)})).tests()}
    assert found["H1a"].role == "confirmatory"
    assert found["H1a"].p_adjusted == found["H1a"].p
    assert found["H1b"].role == "exploratory"
    assert found["H1b"].family == found["H10a"].family == "exploratory (Benjamini–Hochberg, 6 tests)"


def test_the_published_test_is_never_more_than_descriptive(result):
    welch = {t.name: t for t in result.tests()}["Welch, as published"]
    assert (welch.role, welch.verdict, welch.p) == ("descriptive", "descriptive", None)
    assert welch.checks[0].startswith("Circular: ")
    assert frame(result, "welch", "welch").p.iloc[0] < 0.001


def test_decomposition_adds_up_to_the_within_fact_overlap(study, result):
    parts = frame(result, "overlap", "overlap_decomposition").set_index(["relation", "part"]).overlap
    assert list(parts["All relations"].index) == ["template", "answer", "fact"]
    assert 0 < parts["All relations"].sum() < 1
    assert "R04" not in parts.index.get_level_values(0)  # one-to-one
    share = frame(result, "overlap", "overlap_by_relation").set_index("relation")
    whole = parts["All relations"]
    assert share.answer_share["All relations"] == pytest.approx(
        whole["answer"] / (whole["answer"] + whole["fact"])
    )
    assert np.isnan(share.answer_share["R04"])
    assert share.beyond_template["R04"] > 0


def test_profiles_are_shares(result):
    profile = frame(result, "layers", "layer_profile")
    assert profile.groupby("group").share.sum().tolist() == pytest.approx([1, 1])
    assert (profile.low <= profile.share).all()


def test_thresholds_below_the_floor_are_left_out_and_said_so(study):
    plan = PLAN.model_copy(update={"thresholds": (0.01, 0.2)})
    table = analyze(study, plan).question("ratio").table("ki_by_threshold")
    assert set(table.columns["threshold"]) == {0.2}
    assert table.note.endswith("Below the panels' floor (0.05), this store cannot answer for 0.01.")


def test_attributes_with_few_words_make_a_table(result):
    table = frame(result, "consistency", "by_attribute")
    assert set(zip(table.attribute, table.level, strict=True)) == {("class", "conflict"), ("class", "wide")}
    by = table.set_index("level").kappa
    assert by["conflict"] < by["wide"]


def test_activations_shown_are_the_stores(study, result):
    table = result.question("heatmap").table("activation_typical").to_frame()
    kept = study.signals["activation"].values
    panel = study.signals["panel_neuron"].values
    fact = study.column("queries", "fact")
    n_neurons = study.neurons().n_neurons
    for cell in table.itertuples():
        (slot,) = np.flatnonzero(panel[fact[cell.query]] == cell.layer * n_neurons + cell.index)
        assert cell.value == kept[cell.query, slot]


def test_heatmaps_show_queries_the_fact_was_not_chosen_on(study, result):
    sets = study.neurons().known()
    used = sets.select(sets.sizes() > 0)
    chosen, shown = halves(used, PLAN.seed)
    assert not (chosen & shown).any()
    assert (chosen | shown).all()
    table = result.question("heatmap").table("heatmap_typical")
    cells = table.to_frame()
    whole = study.neurons()
    for query, group in cells.groupby("query"):
        assert group.value.max() <= 1
        neurons = group.layer * whole.n_neurons + group["index"]
        assert group.member.tolist() == np.isin(neurons, whole.of(query)).tolist()
    assert list(cells.columns) == ["row", "column", "value", "member", "query", "template", "layer", "index"]


def test_extremes_need_three_facts():
    d = np.array([0.1, np.nan, 0.4, 0.2])
    assert choose(d, d, 0) == {"most consistent": 2, "typical": 3, "least consistent": 0}
    assert choose(d[:2], d[:2], 0) == {"typical": 0}
    assert choose(np.array([np.nan]), np.array([np.nan]), 0) == {}


@pytest.mark.parametrize(
    "planting",
    [
        {"known": 0.0},
        {"facts": 1, "relations": 1},
        {"facts": 2, "relations": 1, "answers_per_relation": 1},
        {"relations": 1},
        {"templates": 1},
        {"empty": 1.0},
        {"leaking": 1.0},
        {"facts": 0, "pairs": 6},
        {"one_to_one": 3},
        {"missing": 1.0},
        {"n_layers": 1, "n_heads": 0},
    ],
    ids=str,
)
def test_degenerate_studies_give_clear_results(planting, tmp_path):
    given = {
        "facts": 12,
        "relations": 3,
        "templates": 3,
        "one_to_one": 0,
        "n_neurons": 32,
        "seed": 1,
        **planting,
    }
    result = analyze(simulate(**given), PLAN.model_copy(update={"thresholds": (0.2,)}))
    result.save(tmp_path)
    assert [q.id for q in load(tmp_path).questions] == [name for name in TABLES if name != "methods"]
    for test in result.tests():
        assert test.sentence()
        if np.isnan(test.estimate):
            assert test.verdict in ("not identified", "descriptive")


def test_unfinished_stores_are_marked(study):
    from dataclasses import replace

    result = analyze(replace(study, complete=False), PLAN.model_copy(update={"thresholds": (0.2,)}))
    assert result.notes[0] == (
        "The store is unfinished: these results are of the units that are in, and will change."
    )
    assert result.synthetic


def test_analysis_needs_no_torch_and_no_zarr():
    program = """
import sys
from importlib.machinery import PathFinder
ABSENT = {"torch", "transformers", "tokenizers", "safetensors", "zarr", "h5py", "jinja2", "matplotlib"}
found = PathFinder.find_spec
PathFinder.find_spec = staticmethod(lambda name, path=None, target=None:
    None if name.partition(".")[0] in ABSENT else found(name, path, target))
import qloc
from qloc.analysis.analyze import analyze
from qloc.plan import AnalysisPlan
study = qloc.simulate(facts=12, relations=2, templates=3, n_neurons=32, seed=1)
result = analyze(study, AnalysisPlan(n_permutations=99, n_bootstrap=99, thresholds=(0.2,)))
name = qloc.hypotheses.beyond_template(study, draws=qloc.hypotheses.Draws(n_permutations=99)).name
print(len(result.questions), name, not ABSENT & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["11", "H1a", "True"]


def test_budgets_that_no_panel_can_fill_are_said(study, dense_study, result):
    table = result.question("sensitivity").table("by_budget")
    assert table.columns["b"] == (5,)
    assert table.note.endswith("The store's panels cannot fill b = 10, 20, 40, 80.")
    few = analyze(study, PLAN.model_copy(update={"thresholds": (0.2,), "budgets": (80,)}))
    (only,) = few.question("sensitivity").tables
    assert only.note.endswith("The store's panels cannot fill b = 80.")
    plan = PLAN.model_copy(update={"thresholds": (0.2,), "budgets": (5, 10)})
    found = frame(analyze(dense_study, plan), "sensitivity", "by_budget")
    assert found.b.tolist() == [5, 10]
    assert found.ki.iloc[0] >= found.ki.iloc[1]  # fewer neurons, fewer shared
    assert (found.kappa_low <= found.kappa).all()
