"""One fact as a page of text: its queries, neurons and scores, as the study has them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from qloc.errors import InputError
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate
from qloc.workflows.show import MOST_FACTS, fact_text, facts_text, relations_text, show


@pytest.fixture(scope="module")
def study():
    return simulate(facts=30, relations=3, templates=4, seed=1)


def test_a_page_has_the_numbers_of_the_study(study):
    text, whole = fact_text(study, "F00003")
    assert whole
    row = study.column("facts", "id").tolist().index("F00003")
    queries = (study.column("queries", "fact") == row).nonzero()[0]
    sizes = study.neurons("ig", 0.2).sizes()[queries]
    lines = text.splitlines()
    first = lines.index("Queries") + 2
    shown = [line.split()[-1] for line in lines[first : first + len(queries)]]
    assert shown == [str(size) for size in sizes]


def test_a_page_has_the_tokens_that_neurons_promote(study):
    assert "promote" not in fact_text(study, "F00003")[0]
    sets = study.neurons()
    ids = np.zeros((sets.n_layers, sets.n_neurons, 10), dtype=np.int32)
    ids[..., 2:] = -1
    here = xr.Dataset(
        {
            "promoted_token_id": (("layer", "neuron", "place"), ids + (ids == 0) * (np.arange(10) > 0)),
            "suppressed_token_id": (("layer", "neuron", "place"), ids),
            "token": ("vocabulary", np.array([" Paris", "x"], dtype=object)),
        }
    )
    text = fact_text(replace(study, datasets={**study.datasets, "neurons": here}), "F00003")[0]
    lines = text.splitlines()
    first = lines.index(
        "Tokens that they promote and suppress (row of the down-projection · output embedding)"
    )
    named = re.findall(r"(L\d+\.N\d+) in", text)
    assert lines[first + 1].strip() == f"{named[0]} promotes “ Paris” “x”; suppresses “ Paris” “ Paris”"
    assert [line.split()[0] for line in lines[first + 1 : first + 1 + len(named)]] == named


def test_of_many_facts_a_list_is_given(study):
    text, whole = fact_text(study, "F0001")
    assert not whole
    assert text.splitlines()[0] == "10 facts with 'F0001' in id or subject:"
    assert len(text.splitlines()) == 2 + 10 > MOST_FACTS


def test_nobody_is_refused(study):
    with pytest.raises(InputError, match=r"^fact is 'nobody'; expected an id, a subject, or a part of one\."):
        fact_text(study, "nobody")


def test_python_shows_what_the_command_prints(study):
    assert show(study, "F00003") == fact_text(study, "F00003")[0]
    with pytest.raises(InputError, match="nobody"):
        show(study, "nobody")


def test_relations_and_facts_are_listed(study):
    text, first = relations_text(study)
    assert text.splitlines()[0] == "30 facts of 3 relations"
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["R01", "R02", "R03"]
    assert first == "R01"
    rows, id = facts_text(study, "R02")
    ids = study.facts.sel(relation="R02").id.values.tolist()
    assert [line.split()[0] for line in rows.splitlines()[1:]] == ids
    assert id == ids[0]
    known = study.queries.known.values[
        study.queries.fact.values == study.column("facts", "id").tolist().index(id)
    ]
    assert rows.splitlines()[1].split()[-2:] == [str(len(known)), str(known.sum())]
    with pytest.raises(InputError) as caught:
        facts_text(study, "R09")
    assert str(caught.value) == (
        "relation is 'R09'; expected one of R01, R02, R03. At qloc facts list. Choose one."
    )


def test_neurons_are_named_by_layer_and_number(study):
    text, _ = fact_text(study, "F00003")
    sets = study.neurons("ig", 0.2).known()
    row = study.column("facts", "id").tolist().index("F00003")
    first = sets.of(int((sets.queries["fact"] == row).nonzero()[0][0]))[0]
    assert re.search(r"Neuron in c_n queries: L\d\.N\d+ in \d", text)
    assert f"L{first // sets.n_neurons}.N{first % sets.n_neurons} in " in text or " more" in text


def test_effects_of_sets_at_another_threshold_say_so_and_own_sets_are_shown():
    planted = simulate(facts=12, relations=2, templates=3, effects=Effects(), n_neurons=16, n_heads=0, seed=1)
    group = planted.datasets["interventions"].assign_attrs(method="ig", threshold=0.2)
    names = ["mine" if name == "union" else name for name in group["neuron_set"].values]
    changed = replace(
        planted, datasets={**planted.datasets, "interventions": group.assign_coords(neuron_set=names)}
    )
    said = "Interventions (of neurons by ig, threshold 0.2, not ig, threshold 0.3): mean"
    assert said in fact_text(changed, "F00001", threshold=0.3)[0]
    page = fact_text(changed, "F00001")[0]
    assert "Interventions: mean" in page
    assert re.search(r"suppress: [^:]*mine\s+[+−]", page)  # whatever the width
