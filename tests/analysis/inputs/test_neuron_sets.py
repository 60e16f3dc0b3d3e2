"""Sets of a study, or sets as they are given."""

from qloc.analysis.inputs.neuron_sets import sets_and_store


def test_a_study_gives_its_sets_and_fingerprint(study):
    sets, store = sets_and_store(study, "grad_x_act", 0.3)
    expected = study.neurons("grad_x_act", 0.3)
    assert (sets.method, sets.rule) == ("grad_x_act", "threshold 0.3")
    assert (sets.member != expected.member).nnz == 0
    assert store == study.fingerprint != ""


def test_ready_sets_are_taken_as_they_are(planted):
    sets, store = sets_and_store(planted, "no such method", 0.3)
    assert sets is planted
    assert store == ""
