"""The schema of phases: its tables agree with each other."""

from qloc.store.schema.phase_variables import (
    ADDED,
    COPIED,
    LABELLED,
    PHASE_COORDINATES,
    PHASES,
    STATISTICS,
)
from qloc.store.schema.variables import FACTS, QUERIES, STORED

BY_PATH = {
    v.path: v
    for v in (*QUERIES, *FACTS, *STATISTICS, *PHASES["interventions"], *PHASES["edits"], *PHASES["tracing"])
}


def test_groups_of_each_phase():
    groups = {phase: list(dict.fromkeys(v.group for v in made)) for phase, made in PHASES.items()}
    assert groups == {
        "interventions": ["interventions", "synapses", "synapse_views", "reprompts"],
        "edits": ["edits", "entailments"],
        "tracing": ["tracing"],
    }
    optional = {
        *("synapse_views", "reprompts", "entailments"),
        *("interventions/strength", "edits/strength", "edits/value_loss"),
        *("edits/text_nats_first", "edits/text_nats_second"),
    }
    further = {
        f"{phase}/{base}{name}_log_probability"
        for phase in ("interventions", "edits")
        for base in ("", "base_")
        for name in ("bad", "word")
    }
    further |= {"synapses/bad_log_probability", "synapses/word_log_probability"}
    assert optional | further == ADDED


def test_phases_are_stored_in_dtypes_of_their_own():
    """Only signals follow ``--store-dtype``: an outcome is float32 in every store."""
    assert not [v.path for made in PHASES.values() for v in made if v.dtype == STORED]


def test_copies_are_of_the_same_kind_as_their_source():
    for path, source in COPIED.items():
        copy, original = BY_PATH[path], BY_PATH[source]
        assert (copy.name, copy.dims, copy.dtype) == (original.name, original.dims, original.dtype)


def test_labelled_axes_are_those_with_a_coordinate_of_labels():
    own = {v.name for made in PHASES.values() for v in made if v.dims == (v.name,)}
    assert own == set(LABELLED)


def test_coordinates_are_variables_of_their_group():
    for group, names in PHASE_COORDINATES.items():
        for name in names:
            assert f"{group}/{name}" in BY_PATH


def test_each_outcome_of_an_intervention_has_its_base():
    own = [v for v in PHASES["interventions"] if v.group == "interventions" and v.path not in ADDED]
    outcomes = {v.name: v for v in own if len(v.dims) == 3}
    assert list(outcomes) == ["log_probability", "logit", "margin", "rank", "argmax"]
    for name, outcome in outcomes.items():
        base = BY_PATH[f"interventions/base_{name}"]
        assert (base.dims, base.dtype) == (("query",), outcome.dtype)
        assert base.meaning == outcome.meaning.replace("after the change", "with nothing changed")


def test_each_value_after_an_edit_has_its_value_before():
    after = [v for v in PHASES["edits"] if v.meaning.endswith("; after")]
    assert len(after) == 13
    for variable in after:
        base = BY_PATH[f"{variable.group}/base_{variable.name}"]
        assert variable.dims == ("edit_operation", "edit_set", *base.dims)
        assert (base.dtype, base.meaning) == (variable.dtype, variable.meaning.replace("; after", "; before"))
