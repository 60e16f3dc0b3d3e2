"""A plan is read from YAML and flags alike, and says all that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.phase_plan import InterventionPlan, ProbePlan, RomePlan
from qloc.plan import AnalysisPlan, Plan, analysis_part, each_revision, plan_from


def problems(path: Path | None = None, **flags: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        plan_from(path, flags)
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def written(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_those_of_the_interface() -> None:
    plan = plan_from()
    assert (plan.methods, plan.steps, plan.quadrature, plan.answer_tokens) == (("ig",), 4, "certified", "all")
    assert (plan.tier, plan.floor, plan.capacity, plan.unit_facts) == ("panel", 0.05, 4096, 32)
    assert (plan.memory, plan.seed, plan.device, plan.dtype) == (8 * 10**9, 0, "auto", "auto")
    assert (plan.store_dtype, plan.phases, plan.relations, plan.max_facts) == (
        "float32",
        ("signals", "interventions", "edits"),
        (),
        None,
    )


def test_several_revisions_are_a_store_each(tmp_path: Path) -> None:
    path = written(tmp_path, "revision: [step1000, step2000]\n")
    assert plan_from(path) == plan_from(None, {"revision": ["step1000,step2000"]})
    several = each_revision(plan_from(path), tmp_path)
    assert [one.revision for one, _ in several] == ["step1000", "step2000"]
    assert [store for _, store in several] == [tmp_path / "step1000.zarr", tmp_path / "step2000.zarr"]
    alone = Plan(revision="step1000")
    assert each_revision(alone, tmp_path) == [(alone, tmp_path)]
    assert each_revision(Plan(), tmp_path) == [(Plan(), tmp_path)]
    assert problems(revision=["a", "b,a"]) == [
        "revision is ['a', 'b,a']; expected a, b, a names one twice; expected each once. At flag --revision. Correct it."
    ]
    with pytest.raises(InputError, match="names that differ by more than / and -"):
        each_revision(Plan(revision="a/b,a-b"), tmp_path)


def test_workers_or_a_cluster_and_neither_bears_on_the_numbers() -> None:
    assert problems(workers=2, cluster="tcp://h:1") == [
        "cluster is 'tcp://h:1'; expected workers of this machine or a cluster, not both. At flag --cluster. Correct it."
    ]
    plain, many = Plan(), Plan(workers=8, cluster=None, device="cpu")
    assert plain.signal_parameters() == many.signal_parameters()
    assert Plan(threads=3).signal_parameters() != plain.signal_parameters()
    assert problems(workers=2, device="map") == [
        "workers is 2; expected 1 where device is map: each process would spread the model over all GPUs. "
        "At flag --workers. Correct it."
    ]
    assert Plan(workers=1, device="map").signal_parameters() == plain.signal_parameters()
    assert problems(workers=0)[0].startswith("workers is 0; expected greater than or equal to 1.")


def test_probe_words_read_alike_in_flags_and_yaml(tmp_path: Path) -> None:
    words = plan_from(written(tmp_path, "probes: [is, are]\n"))
    assert words == plan_from(None, {"probes": "is, are"})
    assert words.probes == ProbePlan(words=("is", "are"))
    assert Plan().probes is None
    assert Plan(probes="candidates").probes == Plan(probes={}).probes == ProbePlan()
    path = written(tmp_path, "probes: {words: [is, is], more: 1, of_relations: {P: [a, a]}}\n")
    twice, again, unknown = problems(path)
    assert twice.startswith(
        "probes.words is ['is', 'is']; expected is, is names one twice; expected each once."
    )
    assert "a, a names one twice" in again
    assert unknown == (
        f"key is 'probes.more'; expected one of words, of_relations, synapses, most. At plan {path}. Remove or correct it."
    )


def test_flags_override_the_file_and_absent_ones_do_not(tmp_path: Path) -> None:
    path = written(tmp_path, "model: gpt2\nsteps: 40\nmethods: [ig, grad_x_act]\nanalysis:\n  k0: 4\n")
    plan = plan_from(path, {"steps": 7, "model": None})
    assert (plan.model, plan.steps, plan.methods, plan.analysis.k0) == ("gpt2", 7, ("ig", "grad_x_act"), 4)
    assert plan.model_fields_set == {"model", "steps", "methods", "analysis"}


def test_lists_and_sizes_read_alike_in_flags_and_yaml(tmp_path: Path) -> None:
    path = written(tmp_path, "relations: [P36, P39]\nmemory: 2000000000\n")
    assert plan_from(path) == plan_from(None, {"relations": "P36, P39", "memory": "2GB"})


def test_an_empty_file_is_a_plan_of_defaults(tmp_path: Path) -> None:
    assert plan_from(written(tmp_path, "# nothing yet\n")) == Plan()


def test_unknown_keys_are_named_with_those_that_exist(tmp_path: Path) -> None:
    path = written(tmp_path, "stepz: 20\nanalysis:\n  cutoff: 0.2\n")
    plan_keys, analysis_keys = ", ".join(Plan.model_fields), ", ".join(AnalysisPlan.model_fields)
    assert problems(path) == [
        f"key is 'analysis.cutoff'; expected one of {analysis_keys}. At plan {path}. Remove or correct it.",
        f"key is 'stepz'; expected one of {plan_keys}. At plan {path}. Remove or correct it.",
    ]


def test_every_wrong_value_is_named_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, "steps: 0\nfloor: 1.5\n")
    assert problems(path, floor=2.0, tier="thick") == [
        f"steps is 0; expected greater than or equal to 1. At plan {path}. Correct it.",
        "tier is 'thick'; expected 'panel' or 'dense'. At flag --tier. Correct it.",
        "floor is 2.0; expected less than 1. At flag --floor. Correct it.",
    ]


def test_one_path_without_the_other_is_refused() -> None:
    for flags, got in (({"blocks": "transformer.h"}, "None"), ({"down": "mlp.c_proj"}, "'mlp.c_proj'")):
        with pytest.raises(InputError) as caught:
            plan_from(None, flags)
        assert str(caught.value) == (
            f"down is {got}; expected both module paths, blocks and down, or neither. At flag --down. Correct it."
        )


def test_a_method_twice_is_refused() -> None:
    assert problems(methods="ig,ig") == [
        "methods is 'ig,ig'; expected ig, ig names one twice; expected each once. At flag --methods. "
        "Correct it."
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- steps", "plan is 'list'; expected keys and values. At {path}. Mend the file."),
        (
            "a: [",
            "plan is '{path}'; expected YAML. At while parsing a flow node expected the node content, but "
            "found '<stream end>' in \"<unicode string>\", line 1, column 5: a: [ ^. Mend the file.",
        ),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    assert problems(path) == [expected.format(path=path)]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    (only,) = problems(tmp_path / "none.yaml")
    assert only == (
        f"plan is '{tmp_path}/none.yaml'; expected a readable file. At [Errno 2] No such file or directory: "
        f"'{tmp_path}/none.yaml'. Give another path."
    )


@pytest.mark.parametrize("given", ["8 parsecs", "", "GB", "-1GB"])
def test_what_is_no_size_is_refused(given: str) -> None:
    assert problems(memory=given) == [
        f"memory is {given!r}; expected {given!r} is no size; expected a number with B, KB, MB, GB, KiB, MiB "
        "or GiB, such as 8GB. At flag --memory. Correct it."
    ]


def test_what_does_not_bear_on_numbers_is_in_no_fingerprint() -> None:
    here = plan_from(None, {"model": "a", "facts": "b", "device": "cpu"})
    there = plan_from(None, {"model": "c", "facts": "d", "device": "cuda:0", "analysis": {"k0": 4}})
    assert here.signal_parameters() == there.signal_parameters()
    for name, value in {"steps": 21, "quadrature": "right", "floor": 0.1, "unit_facts": 8, "seed": 1}.items():
        assert plan_from(None, {name: value}).signal_parameters() != here.signal_parameters()


def test_a_plan_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        InputError, match=r"^plan is .*; expected a readable file\. At .*\. Give another path\.$"
    ):
        plan_from(path)


def test_phases_run_in_order_and_after_signals() -> None:
    assert plan_from(None, {"phases": "edits,signals"}).phases == ("signals", "edits")
    assert problems(phases="interventions") == [
        "phases is 'interventions'; expected signals among them: the other phases are chosen from it. "
        "At flag --phases. Correct it."
    ]


def test_phases_read_from_yaml_are_strict(tmp_path: Path) -> None:
    path = written(tmp_path, "methods: [grad_x_act]\ninterventions:\n  alpha: 3\n  sets: [own, matched]\n")
    plan = plan_from(path)
    assert (plan.interventions.alpha, plan.interventions.sets) == (3.0, ("own", "matched"))
    assert (plan.interventions.method, plan.intervention_plan().method) == (None, "grad_x_act")
    assert (plan.edit_plan().method, plan.edits.lambda2) == ("grad_x_act", 8.0)
    path = written(tmp_path, "interventions:\n  beta: 1\n  sets: [own, own]\nedits:\n  method: sum\n")
    known = ", ".join(InterventionPlan.model_fields)
    assert problems(path) == [
        "interventions.sets is ['own', 'own']; expected own, own names one twice; expected each once. "
        f"At plan {path}. Correct it.",
        f"key is 'interventions.beta'; expected one of {known}. At plan {path}. Remove or correct it.",
        "edits is {'method': 'sum'}; expected a method that is extracted, one of ig. "
        f"At plan {path}. Correct it.",
    ]
    path = written(tmp_path, "interventions: {reprompt: 'Well, '}\n")
    assert problems(path) == [
        "interventions.reprompt is 'Well, '; expected signs and white space, no word; 'Well, ' has letters or "
        f"digits. At plan {path}. Correct it."
    ]


def test_parts_of_parts_are_strict_too(tmp_path: Path) -> None:
    assert plan_from(written(tmp_path, "edits:\n  rome:\n    layer: 0.5\n")).edits.rome.layer == 0.5
    path = written(tmp_path, "edits:\n  rome:\n    depth: 0.5\n    clamp: 0\n")
    known = ", ".join(RomePlan.model_fields)
    assert problems(path) == [
        f"edits.rome.clamp is 0; expected greater than 0. At plan {path}. Correct it.",
        f"key is 'edits.rome.depth'; expected one of {known}. At plan {path}. Remove or correct it.",
    ]


def test_the_other_site_is_extracted_alone() -> None:
    assert plan_from(None, {"site": "mlp_pre"}).phases == ("signals",)
    assert len(problems(site="mlp_pre", phases="signals,edits")) == 1


def test_sets_below_the_floor_are_refused_before_any_work() -> None:
    found = problems(floor=0.3, phases="signals,interventions,edits")
    assert len(found) == 2
    assert all("threshold of at least the floor, 0.3" in line for line in found)
    assert plan_from(None, {"floor": 0.3, "phases": "signals"}).floor == 0.3


def test_a_plan_says_what_is_analyzed_and_nothing_else_does() -> None:
    plan = Plan(analysis=AnalysisPlan(threshold=0.3))
    assert analysis_part(plan, "here") is analysis_part(plan.analysis, "here") is plan.analysis
    assert analysis_part(None, "here") == AnalysisPlan()
    with pytest.raises(InputError) as caught:
        analysis_part({"threshold": 0.3}, "qloc.analyze")
    assert str(caught.value) == (
        "plan is 'dict'; expected a qloc.Plan. At qloc.analyze. "
        "Write qloc.Plan(model=…, facts=…), or read one with qloc.plan.plan_from."
    )


def test_a_plan_made_in_python_says_all_that_is_wrong_with_it() -> None:
    with pytest.raises(InputError) as caught:
        Plan(steps=0, site="middle", typo=1, interventions={"alpha": -1})
    known = ", ".join(Plan.model_fields)
    assert caught.value.problems == (
        "steps is 0; expected greater than or equal to 1. At qloc.Plan. Correct it.",
        "site is 'middle'; expected 'mlp_post' or 'mlp_pre'. At qloc.Plan. Correct it.",
        "interventions.alpha is -1; expected greater than 0. At qloc.Plan. Correct it.",
        f"key is 'typo'; expected one of {known}. At qloc.Plan. Remove or correct it.",
    )
    assert Plan(steps=7) == plan_from(None, {"steps": 7}) == Plan.model_validate({"steps": 7})
