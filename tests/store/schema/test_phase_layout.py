"""Layouts of phases: what an outline leads to, and every reason why none can be held."""

import dataclasses
import json

import numpy as np
import pytest
import synthetic_phase

from qloc.errors import InputError
from qloc.store.schema.phase_layout import PhaseLayout

ACTION = "Make outlines as qloc.block says."


@pytest.fixture(scope="module")
def sizes(study):
    return study.outline().sizes


def problems(outline, sizes):
    with pytest.raises(InputError) as caught:
        PhaseLayout.of(outline, sizes)
    where = f" At the outline of phase {outline.phase}. "
    return [text.replace(f"{where}{ACTION}", "") for text in caught.value.problems]


def test_layout_of_an_outline(sizes):
    made = PhaseLayout.of(synthetic_phase.outline("interventions"), sizes)
    assert made == PhaseLayout(
        phase="interventions",
        labels=synthetic_phase.LABELS["interventions"],
        sizes={"view": 4},
        added=("synapse_views",),
    )
    assert made.groups == ("interventions", "synapses", "synapse_views")
    labelled = {"operation": 2, "neuron_set": 3, "synapse_operation": 1, "synapse_set": 2}
    assert made.lengths == {**labelled, "view": 4}
    edits = PhaseLayout.of(synthetic_phase.outline("edits"), sizes)
    assert edits.lengths == {"edit_operation": 2, "edit_set": 3, "probe": 2, "step": 4}


def test_axes_that_only_absent_groups_have_are_left_out(sizes):
    outline = synthetic_phase.outline("interventions")
    made = PhaseLayout.of(dataclasses.replace(outline, absent=("synapses",), added=()), sizes)
    assert set(made.labels) == {"operation", "neuron_set"}
    assert made.sizes == {}
    assert made.groups == ("interventions",)
    assert {variable.group for variable in made.variables()} == {"interventions"}


def test_optional_groups_are_there_where_they_are_named(sizes):
    outline = dataclasses.replace(synthetic_phase.outline("interventions"), added=("reprompts",))
    assert PhaseLayout.of(outline, sizes).groups == ("interventions", "synapses", "reprompts")
    outline = dataclasses.replace(outline, added=())
    assert PhaseLayout.of(outline, sizes).groups == ("interventions", "synapses")


def test_optional_variables_are_there_where_they_are_named(sizes):
    outline = synthetic_phase.outline("edits")
    added = dataclasses.replace(outline, added=("edits/strength",))
    without, with_it = ({v.path for v in PhaseLayout.of(o, sizes).variables()} for o in (outline, added))
    assert with_it - without == {"edits/strength"}
    gone = dataclasses.replace(added, absent=("edits",))
    assert PhaseLayout.of(gone, sizes).variables() == ()


@pytest.mark.parametrize("changes", [{}, {"absent": ("synapses",)}, {"added": ("reprompts",)}])
def test_attributes_there_and_back(sizes, changes):
    outline = dataclasses.replace(synthetic_phase.outline("interventions"), added=())
    made = PhaseLayout.of(dataclasses.replace(outline, **changes), sizes)
    attrs = json.loads(json.dumps(made.attrs()))
    assert PhaseLayout.read("interventions", attrs) == made
    assert ("added" in attrs) == ("added" in changes)  # older stores keep the attributes that they had


def test_unknown_phase(sizes):
    outline = dataclasses.replace(synthetic_phase.outline("edits"), phase="dreams")
    assert problems(outline, sizes) == ["phase is 'dreams'; expected one of interventions, edits, tracing."]


def test_every_problem_is_told_at_once(sizes):
    outline = dataclasses.replace(
        synthetic_phase.outline("edits"),
        absent=("synapses",),
        added=("edits",),
        labels={"edit_operation": ("erase", "erase"), "edit_set": ()},
        sizes={"step": -1},
        attrs={"array": np.zeros(2)},
    )
    found = problems(outline, sizes)
    assert found[:-1] == [
        "absent groups is ['synapses']; expected some of edits.",
        "added groups is ['edits']; expected some of edits/bad_log_probability, edits/base_bad_log_probability, "
        "edits/base_word_log_probability, edits/strength, edits/text_nats_first, edits/text_nats_second, "
        "edits/value_loss, edits/word_log_probability, entailments.",
        "axes with a size is ['step']; expected probe, step.",
        "labels of edit_operation is ['erase', 'erase']; expected one or more, each once, none empty.",
        "labels of edit_set is []; expected one or more, each once, none empty.",
        "sizes is {'step': -1}; expected none below 0.",
    ]
    assert found[-1].startswith("attributes is ")
    assert found[-1].endswith("; expected JSON.")


def test_axes_without_labels(sizes):
    outline = synthetic_phase.outline("edits")
    outline = dataclasses.replace(outline, labels={"edit_set": ("own", "")})
    assert problems(outline, sizes) == [
        "labelled axes is ['edit_set']; expected edit_operation, edit_set.",
        "labels of edit_set is ['own', '']; expected one or more, each once, none empty.",
    ]


def test_attribute_of_a_name_that_xarray_takes(sizes):
    outline = dataclasses.replace(synthetic_phase.outline("edits"), attrs={"coordinates": "mine"})
    with pytest.raises(InputError) as caught:
        PhaseLayout.of(outline, sizes)
    assert str(caught.value) == (
        "attribute is 'coordinates'; expected another name. At the outline of phase edits. Rename it."
    )
