"""One fact as a page of text: its queries, neurons and scores, as the study has them."""

import pytest

from qloc.errors import InputError
from qloc.simulation.simulate import simulate
from qloc.workflows.show import MOST_FACTS, fact_text, show


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
