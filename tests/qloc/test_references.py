"""The bibliography: every source once, every key that is used there, every use with a source."""

from typing import get_args

from qloc import references
from qloc.methods import BUILT_IN
from qloc.phase_plan import EditSet
from qloc.references import BIBLIOGRAPHY, bibtex_of, cited, sources_of

TABLES = (references.METHODS, references.KINDS, references.PHASES, references.EDIT_SETS, references.DATA_SETS)


def test_every_key_that_is_used_is_in_the_bibliography():
    used = {key for table in TABLES for keys in table.values() for key in keys}
    assert used - set(BIBLIOGRAPHY) == set()


def test_every_source_stands_once_and_its_key_is_author_and_year():
    lines = [reference.line() for reference in BIBLIOGRAPHY.values()]
    assert len(set(lines)) == len(lines)
    for key, reference in BIBLIOGRAPHY.items():
        assert key == f"{reference.authors.split()[0].strip(',').lower()}{reference.year}"
    assert list(BIBLIOGRAPHY) == sorted(BIBLIOGRAPHY)


def test_every_own_method_has_a_source():
    assert {method.name for method in BUILT_IN} == set(references.METHODS)


def test_every_set_of_edits_with_a_source_can_be_edited():
    assert set(references.EDIT_SETS) <= set(get_args(EditSet))


def test_rome_and_its_data_are_cited():
    (rome,) = cited("meng2022")
    assert sources_of(edit_sets=["rome"]) == (rome,)
    assert sources_of(facts="counterfact:counterfact.json") == (rome,)
    assert rome in sources_of(facts="zsre:zsre.json")


def test_what_has_no_source_is_left_out():
    assert sources_of(methods=["mine:function"], facts="facts.jsonl") == ()


def test_a_line_says_where():
    assert cited("dai2022", where="§4")[0].endswith("ACL 2022. arXiv:2104.08696, §4.")
    assert BIBLIOGRAPHY["dai2022"].in_text() == "Dai et al. 2022 (arXiv:2104.08696)"


def test_bibtex_has_each_reference_once_wherever_a_line_points() -> None:
    lines = [*cited("dai2022", where="eq. 3"), *cited("dai2022"), *cited("cameron2011")]
    entries = bibtex_of(lines)
    assert entries.count("@misc{dai2022,") == entries.count("@misc{cameron2011,") == 1
    assert "  howpublished = {Journal of Business \\& Economic Statistics 29}," in entries
    assert "  author = {Elazar and others}," in BIBLIOGRAPHY["elazar2021"].bibtex("elazar2021")
    assert entries.count("{") == entries.count("}")
