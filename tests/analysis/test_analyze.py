"""analyze(): all questions on planted data, degenerate studies, round trip, no torch."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import qloc
from qloc.analysis.analyze import (
    OF_PHASES,
    QUESTIONS,
    analyze,
    answered,
    gathered,
    notes,
    provenance,
    questions_of,
    synthetic,
    words,
)
from qloc.analysis.inference.multiplicity import in_families
from qloc.analysis.plain_values import plain
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.counts import study_counts
from qloc.analysis.questions.edits import edits_question
from qloc.analysis.questions.interventions import interventions_question
from qloc.analysis.questions.methods import methods_question
from qloc.analysis.questions.overlap import overlap_question
from qloc.analysis.questions.synapses import synapses_question
from qloc.analysis.results import Question, StudyResult, load
from qloc.hypothesis_registry import REGISTRY
from qloc.plan import AnalysisPlan
from qloc.progress import Progress
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate

SIZE: dict[str, Any] = {"facts": 60, "relations": 6, "templates": 5, "n_neurons": 16, "n_heads": 0}
PLAN = AnalysisPlan(
    confirmatory=("H1a", "H1b"), n_permutations=99, n_bootstrap=99, thresholds=(0.1, 0.2, 0.4), n_splits=5
)
TABLES = {
    "counts": ["counts_by_relation", "left_out"],
    "consistency": ["consistency_overall", "consistency_by_relation", "consistency_by_fact", "by_attribute"],
    "ratio": [
        "ki_by_threshold",
        "ki_by_threshold_cs1",
        "ki_by_relation",
        "ki_across_methods",
        "ki_method_pairs",
        "rarefaction",
        "set_sizes",
    ],
    "overlap": ["overlap_decomposition", "overlap_by_relation", "overlap_components"],
    "stability": ["reliability_by_relation", "tilt_distribution"],
    "methods": ["method_agreement"],
    "behaviour": ["behaviour_slopes", "behaviour_by_kappa"],
    "sensitivity": ["multiverse", "multiverse_joint", "by_budget"],
    "layers": ["layer_profile"],
    "level": ["localization_level"],
    "welch": ["welch"],
    "heatmap": [
        "heatmap_most_consistent",
        "heatmap_typical",
        "heatmap_least_consistent",
        "activation_typical",
    ],
    "quality": ["completeness", "completeness_by_layer", "error_bounds", "by_method"],
}
PHASE_TABLES = {
    "interventions": [
        "intervention_effects",
        "intervention_contrasts",
        "query_kn_mapping",
        "query_kn_ceiling",
        "dose_response",
    ],
    "synapses": ["synapse_effects", "synapse_contrasts", "synapse_contrasts_activation"],
    "edits": ["edit_scores", "edit_scores_probability", "edit_by_class", "edit_contrasts"],
    "entailments": [
        "edit_entailments",
        "edit_entailments_all",
        "edit_entailments_probability",
        "edit_entailment_moves",
    ],
}


@pytest.fixture(scope="module")
def answers(study) -> list[Question]:
    """Uncorrected: which tests a plan confirms changes none of them."""
    return answered(AnalysisContext(study, PLAN), Progress(quiet=True))


@pytest.fixture(scope="module")
def result(study, answers) -> StudyResult:
    return gathered(AnalysisContext(study, PLAN), answers)


@pytest.fixture(scope="module")
def frame() -> Callable[[StudyResult, str, str], pd.DataFrame]:
    def of(result: StudyResult, id_: str, name: str) -> pd.DataFrame:
        question = result.question(id_)
        assert question is not None
        table = question.table(name)
        assert table is not None
        return table.to_frame()

    return of


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


def test_confirmatory_tests_are_corrected_together(result):
    tests = {t.name: t for t in result.tests()}
    assert tests["H1a"].family == tests["H1b"].family == "confirmatory (Holm, 2 tests)"
    smaller = min(tests["H1a"].p, tests["H1b"].p)
    assert min(t.p_adjusted for t in (tests["H1a"], tests["H1b"])) == pytest.approx(2 * smaller / 0.9)
    assert tests["H1a"].store == result.provenance["store fingerprint"]


def test_without_a_plan_everything_is_exploratory(study, answers):
    """What nobody named beforehand was not confirmed, whatever the defaults of other fields."""
    found = gathered(AnalysisContext(study, PLAN.model_copy(update={"confirmatory": ()})), answers)
    assert {test.role for test in found.tests()} == {"exploratory", "descriptive"}
    assert AnalysisPlan().confirmatory == ()


def test_a_plan_may_confirm_less(study, answers):
    plan = PLAN.model_copy(update={"confirmatory": ("H1a",)})
    found = {t.name: t for t in gathered(AnalysisContext(study, plan), answers).tests()}
    assert found["H1a"].role == "confirmatory"
    assert found["H1a"].p is not None
    assert found["H1a"].p_adjusted == pytest.approx(found["H1a"].p / 0.9)  # the rest is of the opposite
    assert found["H1b"].role == "exploratory"
    assert found["H1b"].family == found["H10a"].family == "exploratory (Benjamini–Hochberg, 6 tests)"


def test_provenance_says_where_every_number_comes_from(study, result):
    found = result.provenance
    assert found["store fingerprint"] == study.fingerprint
    assert found["knowledge neurons"] == "ig, threshold 0.2"
    assert found["attribution methods in the store"] == "ig, grad_x_act"
    assert found["draws"] == "99 permutations, 99 resamples, seed 0"
    assert found["tier"] == "panel"
    assert found["qloc"] == qloc.__version__
    other = provenance(AnalysisContext(study, PLAN.model_copy(update={"seed": 1})))
    assert other["analysis plan, sha256"] != found["analysis plan, sha256"]


def test_counts_are_those_of_the_first_question(study, result):
    assert result.counts == study_counts(AnalysisContext(study, PLAN))
    relation, kind = study.column("queries", "relation"), study.column("queries", "kind")
    n_relations, n_queries = len(np.unique(relation[kind == "fact"])), int(np.sum(kind == "fact"))
    assert result.model == "planted (4 layers of 64 neurons)"
    assert result.facts.endswith(
        f"(40 facts of {n_relations} relations, {n_queries} queries, and 6 minimal pairs)"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gpt2", "gpt2"),
        ({"id": "gpt2", "revision": "main"}, "gpt2"),
        ({"steps": 20, "dtype": "float32"}, '{"dtype": "float32", "steps": 20}'),
        (3, "3"),
    ],
)
def test_attributes_in_words(value, expected):
    assert words(value) == expected


def test_embedded_and_planted_studies_are_synthetic(study):
    assert synthetic(study)
    for attrs, expected in (
        ({"model": "embedded:causal", "facts": "mine.jsonl"}, True),
        ({"model": "gpt2", "facts": "embedded"}, True),
        ({"model": "gpt2", "facts": "pararel:data"}, False),
    ):
        assert synthetic(replace(study, attrs=attrs)) == expected


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
    size: dict[str, Any] = {
        "facts": 12,
        "relations": 3,
        "templates": 3,
        "one_to_one": 0,
        "n_neurons": 32,
        "seed": 1,
        **planting,
    }
    result = analyze(simulate(**size), PLAN.model_copy(update={"thresholds": (0.2,)}))
    result.save(tmp_path)
    assert [q.id for q in load(tmp_path).questions] == [name for name in TABLES if name != "methods"]
    for test in result.tests():
        assert test.sentence()
        if np.isnan(test.estimate):
            assert test.verdict in ("not identified", "descriptive")


def test_unfinished_stores_are_marked(study, answers):
    found = gathered(AnalysisContext(replace(study, complete=False), PLAN), answers)
    assert found.notes[0] == (
        "The store is unfinished: these results are of the units that are in, and will change."
    )
    assert found.synthetic


def test_questions_of_a_store_with_all_phases(edited_study, frame):
    result = analyze(edited_study, PLAN.model_copy(update={"confirmatory": ("H1a", "H5a", "H8a")}))
    for id_, names in PHASE_TABLES.items():
        question = result.question(id_)
        assert question is not None
        assert [table.name for table in question.tables] == names
        assert question.answer.endswith(".")
        for table in question.tables:
            assert len({len(cells) for cells in table.columns.values()}) == 1, table.name
            assert set(table.labels) <= set(table.columns), table.name
            assert len(table.to_frame()), table.name
    tests = {test.name: test for test in result.tests()}
    one_method, single_pairs, no_probes = {"H9"}, {"H11a", "H11b", "H11c"}, {"H14a", "H14b"}
    not_traced = {"H12a", "H12b", "H12c"}
    assert set(REGISTRY) - one_method - single_pairs - no_probes - not_traced <= set(tests)
    assert {name: test.question for name, test in tests.items() if name in REGISTRY} == {
        name: REGISTRY[name].question for name in tests if name in REGISTRY
    }
    assert tests["H5a"].family == tests["H8a"].family == "confirmatory (Holm, 3 tests)"
    screen = frame(result, "edits", "edit_contrasts")
    assert (screen.p_adjusted >= screen.p).all()
    contrasts = frame(result, "interventions", "intervention_contrasts")
    row = contrasts[(contrasts.operation == "suppress") & (contrasts.control == "matched")].iloc[0]
    assert row.difference == pytest.approx(tests["H5a"].estimate)
    assert not any("The plan confirms" in note for note in result.notes)


def test_phases_that_a_store_lacks_are_not_asked_of_it():
    plan = PLAN.model_copy(update={"confirmatory": ("H1a", "H5a", "H7b")})
    context = AnalysisContext(simulate(**SIZE, seed=1), plan)
    asked = questions_of(context)
    assert not {interventions_question, synapses_question, edits_question, methods_question} & set(asked)
    assert asked == tuple(question for question in QUESTIONS if question in asked)  # in order
    assert any(
        note.startswith("The plan confirms H5a, H7b, which")
        for note in notes(context, [overlap_question(context)])
    )


def test_methods_are_asked_about_where_there_are_two_or_a_plan_says_so(study):
    assert methods_question in questions_of(AnalysisContext(study, PLAN))
    alone = simulate(facts=4, relations=1, templates=3, seed=1)
    confirmed = PLAN.model_copy(update={"confirmatory": ("H9",)})
    assert methods_question not in questions_of(AnalysisContext(alone, PLAN))
    assert methods_question in questions_of(AnalysisContext(alone, confirmed))


@pytest.mark.parametrize("planting", [{"known": 0.0}, {"empty": 1.0}, {"relations": 1, "one_to_one": 0}])
def test_studies_of_which_little_can_be_told(planting):
    context = AnalysisContext(simulate(effects=Effects(), **{**SIZE, **planting}, seed=2), PLAN)
    planted = [question for question, group in OF_PHASES.items() if group in context.study.datasets]
    questions = in_families([question(context) for question in planted], PLAN)
    assert [question.id for question in questions] == [*PHASE_TABLES, "level"]
    assert all(question.answer.endswith(".") for question in questions)
    verdicts = {test.name: test.verdict for question in questions for test in question.tests}
    assert verdicts["H5c"] == "descriptive"
    assert verdicts["H8c"] == ("undecided" if "relations" in planting else "not identified")
    if "known" in planting:
        assert verdicts["H5a"] == verdicts["H7a"] == "not identified"


def test_a_store_with_fewer_arms_is_asked_what_it_can_tell(edited_study):
    fewer = {
        "interventions": edited_study.interventions.sel(operation=["enhance"], neuron_set=["own", "union"]),
        "synapses": edited_study.synapses.sel(synapse_set=["published"]),
        "edits": edited_study.edits.sel(edit_operation=["erase"], edit_set=["union", "in_context"]),
    }
    context = AnalysisContext(replace(edited_study, datasets={**edited_study.datasets, **fewer}), PLAN)
    for ask, group in OF_PHASES.items():
        if group not in context.study.datasets:
            continue
        question = ask(context)
        assert question.tests == ()
        assert question.answer.endswith(".")


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
    assert done.stdout.split() == ["12", "H1a", "True"]
