"""Facts are read as they are written, and everything that is wrong with a file is said at once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloc.errors import InputError
from qloc.extract.datasets import read_facts
from qloc.extract.datasets.blimp import frame
from qloc.extract.datasets.blimp_agreement import feature_of, subject_of
from qloc.extract.datasets.selection import merge, sample
from qloc.facts import Fact, Query

DATA = Path(__file__).parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs ParaRel and BLiMP at ../shared/data")

FRANCE = {
    "id": "a",
    "relation": "P36",
    "subject": "France",
    "object": "Paris",
    "queries": ["The capital of [X] is [Y].", {"template": "P36-2", "text": "France's capital, [Y]"}],
}
PAIR = {
    "id": "p",
    "kind": "minimal_pair",
    "relation": "agreement",
    "subject": "this",
    "good": "book",
    "bad": "books",
    "feature": "singular",
    "queries": ["I like this [Y] most."],
}


def write(path: Path, *entries: object) -> Path:
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def problems(source: object, **selection: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_facts(str(source), **selection)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


# facts.jsonl


def test_a_fact_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = write(
        tmp_path / "facts.jsonl", {**FRANCE, "attributes": {"count": 51, "share": 0.5, "class": "wide"}}
    )
    found = read_facts(str(path))
    assert found.source == str(path)
    assert (found.merged, found.skipped) == (0, {})
    assert found.facts == (
        Fact(
            id="a",
            relation="P36",
            subject="France",
            object="Paris",
            queries=(
                Query(template="The capital of [X] is [Y].", text="The capital of France is [Y]."),
                Query(template="P36-2", text="France's capital, [Y]"),
            ),
            objects=("Paris",),
            attributes={"count": 51, "share": 0.5, "class": "wide"},
        ),
    )


def test_a_minimal_pair_is_one_fact_with_one_query(tmp_path: Path) -> None:
    unlabelled = {**{k: v for k, v in PAIR.items() if k != "feature"}, "id": "q", "queries": ["[Y] burn."]}
    found = read_facts(str(write(tmp_path / "f.jsonl", PAIR, unlabelled))).facts
    assert found[0] == Fact(
        id="p",
        relation="agreement",
        subject="this",
        object="book",
        bad="books",
        kind="minimal_pair",
        feature="singular",
        objects=("book",),
        queries=(Query(template="I like this [Y] most.", text="I like this [Y] most."),),
    )
    assert (found[1].feature, found[1].cue_in_prefix) == ("", False)  # nothing stands before the answer


def test_a_minimal_pair_needs_no_subject(tmp_path: Path) -> None:
    bare = {key: value for key, value in PAIR.items() if key != "subject"}
    other = {**bare, "id": "q", "queries": ["I sell this [Y]."]}
    found = read_facts(str(write(tmp_path / "f.jsonl", bare, other)))
    assert [fact.subject for fact in found.facts] == ["book", "book"]  # the good form; not merged


def test_a_pair_without_a_subject_cannot_be_asked_by_it(tmp_path: Path) -> None:
    bare = {**{key: value for key, value in PAIR.items() if key != "subject"}, "queries": ["[X] [Y] most."]}
    path = write(tmp_path / "f.jsonl", bare)
    told = f"key is 'subject missing'; expected one where [X] stands for it. At {path}, line 1. Add it."
    with pytest.raises(InputError, match=re.escape(told)):
        read_facts(str(path))


def test_duplicates_are_merged_and_their_queries_united(tmp_path: Path) -> None:
    again = {
        **FRANCE,
        "id": "b",
        "queries": ["The capital of [X] is [Y].", "[X]: [Y]"],
        "attributes": {"n": 1},
    }
    found = read_facts(str(write(tmp_path / "f.jsonl", FRANCE, again)))
    assert found.merged == 1
    assert [fact.id for fact in found.facts] == ["a"]
    assert [query.text for query in found.facts[0].queries] == [
        "The capital of France is [Y].",
        "France's capital, [Y]",
        "France: [Y]",
    ]
    assert found.facts[0].attributes["n"] == 1


def test_a_prompt_that_repeats_in_a_fact_is_asked_once(tmp_path: Path) -> None:
    twice = {**FRANCE, "queries": ["[X]: [Y]", {"template": "t", "text": "France: [Y]"}]}
    found = read_facts(str(write(tmp_path / "f.jsonl", twice)))
    assert len(found.facts[0].queries) == 1
    assert found.skipped == {"query with the prompt of another of its fact": 1}


def test_pairs_with_the_same_words_stay_apart(tmp_path: Path) -> None:
    other = {**PAIR, "id": "q", "queries": ["They sell this [Y]."]}
    found = read_facts(str(write(tmp_path / "f.jsonl", PAIR, other, {**PAIR, "id": "r"})))
    assert [fact.id for fact in found.facts] == ["p", "q"]
    assert found.merged == 1


def test_every_right_object_is_known_to_every_fact(tmp_path: Path) -> None:
    second = {**FRANCE, "id": "b", "object": "Lyon"}
    other = {**FRANCE, "id": "c", "subject": "Peru", "object": "Lima"}
    found = read_facts(str(write(tmp_path / "f.jsonl", FRANCE, other, second)))
    assert [fact.objects for fact in found.facts] == [("Paris", "Lyon"), ("Lima",), ("Paris", "Lyon")]


def test_attributes_have_one_type(tmp_path: Path) -> None:
    path = write(
        tmp_path / "f.jsonl",
        {**FRANCE, "attributes": {"count": 1, "share": 1, "name": "x"}},
        {**FRANCE, "id": "b", "object": "Lyon", "attributes": {"share": 0.5}},
        {**FRANCE, "id": "c", "object": "Nice"},
    )
    one, two, three = (fact.attributes for fact in read_facts(str(path)).facts)
    assert one == {"count": 1, "share": 1.0, "name": "x"}
    assert isinstance(one["share"], float)
    assert two == {"share": 0.5}  # what is missing is filled in where columns are made
    assert three == {}


def test_a_byte_order_mark_blank_lines_and_line_separators_are_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    odd = {**FRANCE, "subject": "Fra\u2028nce"}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(odd, ensure_ascii=False).encode() + b"\r\n\r\n")
    assert read_facts(str(path)).facts[0].subject == "Fra\u2028nce"


LINE = "At {path}, line 1"
WRONG = {
    "broken JSON": (
        '{"id": ',
        ["line is '{\"id\":'; expected JSON. " + LINE + ", column 8: Expecting value. Mend the line."],
    ),
    "NaN": (
        '{"id": NaN}',
        ["line is '{\"id\": NaN}'; expected JSON. " + LINE + ": NaN is not JSON. Mend the line."],
    ),
    "not an object": (
        [1, 2],
        ["line is [1, 2]; expected a JSON object, {…}. " + LINE + ". Write one fact a line."],
    ),
    "unknown key": (
        {**FRANCE, "answer": "Paris"},
        [
            "key is 'answer'; expected one of id, relation, subject, object, queries, kind, attributes. "
            + LINE
            + ". Remove it, or put it into attributes."
        ],
    ),
    "missing keys": (
        {"id": "a", "subject": "s"},
        [
            f"key is '{key} missing'; expected all of id, relation, subject, object, queries. "
            + LINE
            + ". Add it."
            for key in ("relation", "object", "queries")
        ],
    ),
    "unknown kind": (
        {**FRANCE, "kind": "rumour"},
        ["kind is 'rumour'; expected fact or minimal_pair. " + LINE + ". Correct it."],
    ),
    "wrong types": (
        {**FRANCE, "id": 7, "queries": "[Y]", "attributes": []},
        [
            "id is 7; expected text. " + LINE + ". Correct it.",
            "queries is '[Y]'; expected a list. " + LINE + ". Write [ … ].",
            "attributes is []; expected an object, {…}. " + LINE + ". Correct it.",
        ],
    ),
    "empty texts": (
        {**FRANCE, "subject": " ", "object": ""},
        [
            "subject is ' '; expected text that is not empty. " + LINE + ". Fill it in.",
            "object is ''; expected text that is not empty. " + LINE + ". Fill it in.",
        ],
    ),
    "space at the end": (
        {**FRANCE, "object": "Paris "},
        ["object is 'Paris '; expected text without space at its ends. " + LINE + ". Remove the space."],
    ),
    "no queries": (
        {**FRANCE, "queries": []},
        [
            "queries is []; expected at least one query. "
            + LINE
            + ". Add one, with [Y] where the answer stands."
        ],
    ),
    "no [Y]": (
        {**FRANCE, "queries": ["The capital of [X]"]},
        [
            "query is 'The capital of France'; expected exactly one [Y]. "
            + LINE
            + ", query 1. Put it where the answer stands."
        ],
    ),
    "two [Y]": (
        {**FRANCE, "queries": ["[X]: [Y]", "[Y] or [Y]"]},
        [
            "query is '[Y] or [Y]'; expected exactly one [Y]. "
            + LINE
            + ", query 2. Put it where the answer stands."
        ],
    ),
    "a query of another form": (
        {**FRANCE, "queries": [3, {"text": "[Y]"}]},
        [
            f'query is {got}; expected text, or {{"template": …, "text": …}}. '
            + LINE
            + f", query {n}. Correct it."
            for n, got in ((1, "3"), (2, "{'text': '[Y]'}"))
        ],
    ),
    "a pair with two queries": (
        {**PAIR, "queries": ["a [Y]", "b [Y]"]},
        [
            "queries is ['a [Y]', 'b [Y]']; expected one query for a minimal pair. "
            + LINE
            + ". Make each a pair."
        ],
    ),
    "attributes": (
        {**FRANCE, "attributes": {"leaks": 1, "in order": 2, "sure": True, "far": 1e999}},
        [
            f"attribute is '{name}'; expected a name of letters, digits and _, none of fact, feature, "
            "first_query, id, kind, leaks, n_objects, n_queries, object, relation, subject. "
            + LINE
            + ". Rename it."
            for name in ("leaks", "in order")
        ]
        + ["attribute is True; expected text or a number. " + LINE + ", attribute sure. Correct it."],
    ),
}


@pytest.mark.parametrize(("entry", "expected"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_whole(tmp_path: Path, entry: object, expected: list[str]) -> None:
    text = entry if isinstance(entry, str) else json.dumps(entry).replace("Infinity", "1")
    path = write(tmp_path / "facts.jsonl", text)
    assert problems(path) == [line.replace("{path}", str(path)) for line in expected]


def test_a_number_that_overflows_is_refused(tmp_path: Path) -> None:
    text = json.dumps({**FRANCE, "attributes": {"n": 2**63}})
    path = write(
        tmp_path / "f.jsonl", text, json.dumps({**FRANCE, "id": "b"})[:-1] + ', "attributes": {"x": 1e999}}'
    )
    rule = "expected a number that 64 bits hold"
    assert problems(path) == [
        f"attribute is {2**63}; {rule}. At {path}, line 1, attribute n. Correct it.",
        f"attribute is inf; {rule}. At {path}, line 2, attribute x. Correct it.",
    ]


def test_mixed_attributes_are_refused(tmp_path: Path) -> None:
    one, two = {**FRANCE, "attributes": {"n": 1}}, {**FRANCE, "id": "b", "attributes": {"n": "many"}}
    path = write(tmp_path / "f.jsonl", one, two)
    assert problems(path) == [
        f"attribute is 'many'; expected a number, as at {path}, line 1. At {path}, line 2, attribute n. "
        "Use one type."
    ]


def test_duplicate_ids_name_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", FRANCE, {**FRANCE, "object": "Lyon"})
    assert problems(path) == [
        f"id is 'a'; expected one that {path}, line 1 does not have. At {path}, line 2. Make ids unique."
    ]


def test_text_that_is_not_utf8_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'{"id": "na\xefve"}\n')
    assert problems(path) == [
        f"encoding is b'\\xef'; expected UTF-8. At {path}, line 1, byte 11. Save the file as UTF-8."
    ]


def test_half_a_surrogate_pair_is_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", '{"id": "\\ud800"}')
    (only,) = problems(path)
    assert only.startswith('line is \'{"id": "\\\\ud800"}\'; expected JSON. At ')


def test_an_empty_file_and_a_missing_one(tmp_path: Path) -> None:
    empty, missing = write(tmp_path / "empty.jsonl"), tmp_path / "missing.jsonl"
    assert problems(empty) == [
        f"file is 'empty'; expected one JSON object a line. At {empty}. Give another file."
    ]
    assert problems(missing) == [
        f"file is '{missing}'; expected an existing file. At {tmp_path}. Check the path."
    ]
    assert problems(tmp_path) == [
        f"file is '{tmp_path}'; expected a readable file. At Is a directory. Check the path."
    ]


def test_problems_are_all_said_up_to_twenty(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", *(["{"] * 1234))
    found = problems(path)
    assert len(found) == 21
    assert found[-1] == "and 1,214 more problems."


def test_unknown_relations_and_sources_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", FRANCE)
    assert problems(path, relations=("P36", "P37", "P39")) == [
        f"relation is '{name}'; expected one of P36. At facts {path}. Correct --relations."
        for name in ("P37", "P39")
    ]
    for source in ("", "builtin:x", "mine:x.json"):
        assert problems(source) == [
            f"facts is '{source}'; expected embedded, pararel:DIR, blimp:FILE_OR_DIR, counterfact:FILE, zsre:FILE, "
            "hf:NAME, a facts.jsonl or a facts.csv. At --facts. Give one of these."
        ]


# Selection


def facts(**sizes: int) -> list[Fact]:
    return [
        Fact(id=f"{r}{n}", relation=r, subject=f"s{n}", object="o", queries=())
        for r, k in sizes.items()
        for n in range(k)
    ]


def test_a_sample_keeps_order_and_does_not_depend_on_other_relations() -> None:
    alone = sample(facts(a=50), 7, seed=3)
    among = sample(facts(b=9, a=50, c=3), 7, seed=3)
    assert [fact.id for fact in alone] == [fact.id for fact in among if fact.relation == "a"]
    assert [int(fact.id[1:]) for fact in alone] == sorted(int(fact.id[1:]) for fact in alone)
    assert [sum(fact.relation == r for fact in among) for r in "bac"] == [7, 7, 3]
    assert alone != sample(facts(a=50), 7, seed=4)


def test_a_sample_is_the_same_on_every_machine() -> None:
    assert [fact.id for fact in sample(facts(P36=1000), 4, seed=0)] == [
        "P36166",
        "P36444",
        "P36714",
        "P36898",
    ]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from("op")), max_size=30))
def test_merging_is_idempotent_and_loses_no_triple(triples: list[tuple[str, str, str]]) -> None:
    given_facts = [
        Fact(id=str(n), relation=r, subject=s, object=o, queries=(Query(template=str(n), text=f"{n} [Y]"),))
        for n, (r, s, o) in enumerate(triples)
    ]
    merged, repeated = merge(given_facts)
    assert [(f.relation, f.subject, f.object) for f in merged] == list(dict.fromkeys(triples))
    assert sum(len(fact.queries) for fact in merged) == len(triples)
    assert repeated == 0
    assert merge(merged) == (merged, 0)


# ParaRel


def pararel(folder: Path, patterns: str = "patterns", triples: str = "facts") -> Path:
    (folder / patterns).mkdir(parents=True)
    (folder / triples).mkdir(parents=True)
    for relation in ("P36", "P9"):
        write(
            folder / patterns / f"{relation}.jsonl", {"pattern": "[X] is [Y]."}, "", {"pattern": "[Y]: [X]"}
        )
    write(folder / patterns / "P7.jsonl", {"pattern": "[X] [Y]"})
    france = {"sub_label": "France", "obj_label": "Paris", "uuid": "u1"}
    write(
        folder / triples / "P36.jsonl",
        france,
        {**france, "uuid": "u2"},
        {**france, "obj_label": "Lyon", "uuid": "u1"},
    )
    write(
        folder / triples / "P9.jsonl",
        {"sub_label": "Peru", "obj_label": "Lima"},
        {**france, "sub_label": "Chad"},
    )
    write(folder / triples / "P31.jsonl", france)
    return folder


@pytest.mark.parametrize("names", [("patterns", "facts"), ("graphs_json", "trex_lms_vocab"),
                                   ("pattern_data/graphs_json", "trex_lms_vocab"),
                                   ("data/pattern_data/graphs_json", "data/trex_lms_vocab")])  # fmt: skip
def test_pararel_is_read_in_all_its_layouts(tmp_path: Path, names: tuple[str, str]) -> None:
    found = read_facts(f"pararel:{pararel(tmp_path, *names)}")
    assert found.relations() == ["P9", "P36"]
    assert [fact.id for fact in found.facts] == ["P9-1", "u1", "u1-P36-1", "u1-P36-3"]
    assert [query.template for query in found.facts[2].queries] == ["P36-1", "P36-3"]  # lines of the file
    assert [query.text for query in found.facts[2].queries] == ["France is [Y].", "[Y]: France"]
    assert found.facts[2].objects == ("Paris", "Lyon")
    assert found.merged == 1
    assert found.skipped == {"relation without patterns": 1, "relation without facts": 1}


def test_what_is_wrong_with_pararel(tmp_path: Path) -> None:
    folder = pararel(tmp_path / "p")
    assert problems(f"pararel:{folder}", relations=("P7",)) == [
        f"relation is 'P7'; expected one of P9, P36. At facts pararel:{folder}. Correct --relations."
    ]
    assert problems(f"pararel:{tmp_path}") == [
        f"ParaRel is '{tmp_path}'; expected a folder with patterns/ or graphs_json/ in it. At {tmp_path}. "
        "Check the path."
    ]
    patterns = write(folder / "patterns" / "P36.jsonl", {"pattern": "[X] is"}, {"lemma": "be"})
    triples = write(folder / "facts" / "P36.jsonl", {"sub_label": "a [Y]", "obj_label": ""})
    assert problems(f"pararel:{folder}") == [
        f"pattern is '[X] is'; expected exactly one [Y]. At {patterns}, line 1. Correct it.",
        f"key is 'pattern missing'; expected an object with pattern. At {patterns}, line 2. Add it.",
        f"obj_label is ''; expected text that is not empty. At {triples}, line 1. Correct it.",
        f"sub_label is 'a [Y]'; expected text without [Y]. At {triples}, line 1. Correct it.",
    ]
    (tmp_path / "none" / "patterns").mkdir(parents=True)
    (tmp_path / "none" / "facts").mkdir()
    assert problems(f"pararel:{tmp_path / 'none'}") == [
        "ParaRel is 'without relations'; expected relations with a file in patterns/ and in facts/. "
        f"At {tmp_path / 'none'}. Check the folder."
    ]


@real
def test_pararel_as_published() -> None:
    found = read_facts(f"pararel:{DATA / 'pararel'}")
    n_queries = sum(len(fact.queries) for fact in found.facts)
    assert (len(found.relations()), len(found), found.merged) == (39, 27_593, 17)
    assert n_queries == 224_468
    assert found.skipped == {"relation without patterns": 2}
    assert len({fact.id for fact in found.facts}) == len(found)
    assert all(len(fact.queries) == len({query.template for query in fact.queries}) for fact in found.facts)
    # With the 17 that were merged, each asked with its relation's patterns: the count in the data's README.
    lines = {path.stem: path.read_text().count("\n") for path in (DATA / "pararel" / "facts").glob("*.jsonl")}
    patterns = {
        path.stem: path.read_text().count("\n") for path in (DATA / "pararel" / "patterns").glob("*.jsonl")
    }
    assert sum(lines[relation] * patterns[relation] for relation in patterns) == 224_674


@real
def test_a_filter_reads_the_same_facts_of_pararel() -> None:
    source = f"pararel:{DATA / 'pararel'}"
    few = read_facts(source, relations=("P36", "P17"), max_facts=5, seed=1)
    assert few.relations() == ["P17", "P36"]
    assert [sum(fact.relation == r for fact in few.facts) for r in ("P17", "P36")] == [5, 5]
    assert few.facts[5:] == read_facts(source, relations=("P36",), max_facts=5, seed=1).facts


# BLiMP


def blimp(**changed: object) -> dict[str, object]:
    return {
        "sentence_good": "Raymond is selling this sketch.",
        "sentence_bad": "Raymond is selling this sketches.",
        "UID": "determiner_noun_agreement_1",
        "linguistics_term": "determiner_noun_agreement",
        "pairID": "0",
        "one_prefix_method": True,
        **changed,
    }


def test_a_pair_of_blimp(tmp_path: Path) -> None:
    path = write(tmp_path / "b.jsonl", blimp())
    (only,) = read_facts(f"blimp:{path}").facts
    assert only == Fact(
        id="determiner_noun_agreement_1-0",
        relation="determiner_noun_agreement_1",
        subject="this",
        object="sketch",
        bad="sketches",
        kind="minimal_pair",
        feature="singular",
        objects=("sketch",),
        queries=(Query(template="Raymond is selling this [Y].", text="Raymond is selling this [Y]."),),
    )


def test_pairs_that_cannot_be_asked_or_labelled_are_counted(tmp_path: Path) -> None:
    swapped = blimp(pairID="1", sentence_good="What did he see?", sentence_bad="What he did see?")
    longer = blimp(pairID="2", sentence_good="He runs.", sentence_bad="He runs fast.")
    bare = blimp(pairID="3", sentence_good="We like the octopi.", sentence_bad="We like the octopus.")
    cue = blimp(pairID="4", UID="other", one_prefix_method=False)
    write(tmp_path / "b.jsonl", swapped, longer, bare)
    write(tmp_path / "a.jsonl", cue)
    found = read_facts(f"blimp:{tmp_path}")
    assert [(fact.id, fact.feature, fact.cue_in_prefix) for fact in found.facts] == [
        ("other-4", "singular", False),
        ("determiner_noun_agreement_1-3", "", True),
    ]
    assert found.skipped == {
        "pair that differs in several places": 2,
        "pair without a feature label (kept)": 1,
    }
    assert read_facts(f"blimp:{tmp_path}", relations=("other",)).relations() == ["other"]


def test_what_is_wrong_with_blimp(tmp_path: Path) -> None:
    assert problems(f"blimp:{tmp_path}") == [
        f"BLiMP is '{tmp_path}'; expected a folder with BLiMP's .jsonl files in it. At {tmp_path}. "
        "Check the path."
    ]
    bad = {key: value for key, value in blimp(one_prefix_method="yes", UID="").items() if key != "pairID"}
    path = write(tmp_path / "b.jsonl", blimp(), blimp(), bad)
    assert problems(f"blimp:{path}") == [
        f"key is 'pairID missing'; expected an object as BLiMP has them. At {path}, line 3. Add it.",
        f"UID is ''; expected text that is not empty. At {path}, line 3. Correct it.",
        f"one_prefix_method is 'yes'; expected true or false. At {path}, line 3. Correct it.",
        f"pairID is '0'; expected one that {path}, line 1 does not have. At {path}, line 2. "
        "Make them unique in their paradigm.",
    ]


NOUN, VERB, ANAPHOR = "determiner_noun_agreement", "subject_verb_agreement", "anaphor_agreement"


@pytest.mark.parametrize(
    ("term", "prefix", "good", "bad", "feature"),
    [
        (NOUN, "He sold the", "library", "libraries", "singular"),
        (NOUN, "He sold the", "knives", "knife", "plural"),
        (NOUN, "He sold these", "women", "woman", "plural"),  # irregular: by the determiner
        (NOUN, "He sold these shiny", "oxen", "ox", "plural"),
        (NOUN, "He sold that", "books", "book", ""),  # form and determiner disagree
        (NOUN, "He passed", "this", "these", "singular"),
        (NOUN, "Many guys clean", "this", "these", "singular"),  # the subject's determiner rules nothing here
        (NOUN, "He passed", "this", "that", ""),
        (VERB, "The plays about literature", "astound", "astounds", "plural"),
        (VERB, "The boy", "carries", "carry", "singular"),
        (VERB, "The sketch of those trucks", "hasn't", "haven't", "singular"),
        (VERB, "A niece of most senators", "went", "go", "singular"),  # not "most": it is not the subject's
        (VERB, "A lot of children", "cough", "coughs", "plural"),  # "a" rules nothing
        (VERB, "The boy", "is", "was", ""),
        (ANAPHOR, "Tracy described", "herself", "himself", "feminine"),
        (ANAPHOR, "Tracy described", "herself", "themselves", "singular"),
        (ANAPHOR, "All girls healed", "themselves", "itself", "plural"),
        ("island_effects", "Who did", "boy", "boys", ""),
    ],
)
def test_a_feature_needs_both_forms_or_a_determiner(
    term: str, prefix: str, good: str, bad: str, feature: str
) -> None:
    assert feature_of(term, prefix, good, bad) == feature


@pytest.mark.parametrize(
    ("term", "prefix", "suffix", "noun", "subject"),
    [
        (NOUN, "He sold those old", ".", "", "those"),
        (NOUN, "He sold", " grocery stores.", "grocery stores", "grocery stores"),
        (VERB, "A lot of children", ".", "", "A lot of children"),
        (VERB, "Lissa", " Raymond.", "", "Lissa"),
        (ANAPHOR, "These ladies weren't leaving", ".", "", "These ladies"),
        ("other", "", " burn, he says.", "", "burn"),
    ],
)
def test_a_subject_is_what_the_form_agrees_with(
    term: str, prefix: str, suffix: str, noun: str, subject: str
) -> None:
    assert subject_of(term, prefix, suffix, noun) == subject


@given(
    st.lists(st.sampled_from(["a", "bc", "d."]), max_size=4),
    st.lists(st.sampled_from(["e", "f?"]), max_size=4),
)
def test_a_frame_gives_its_sentences_back(before: list[str], after: list[str]) -> None:
    good, bad = (" ".join([*before, word, *after]) for word in ("runs,", "run,"))
    found = frame(good, bad)
    assert found is not None
    assert f"{found.prefix} {found.good}{found.suffix}".strip() == good
    assert f"{found.prefix} {found.bad}{found.suffix}".strip() == bad


@real
def test_blimp_as_published() -> None:
    found = read_facts(f"blimp:{DATA / 'blimp'}")
    assert (len(found.relations()), len(found), found.merged) == (8, 8000, 0)
    # The three: "Those drivers disgusts", as published; form and determiner disagree.
    assert found.skipped == {"pair without a feature label (kept)": 3}
    for fact in found.facts:
        (query,) = fact.queries
        assert query.text.count("[Y]") == 1
        assert fact.cue_in_prefix == (fact.relation != "determiner_noun_agreement_2")
    texts = {fact.queries[0].text.replace("[Y]", fact.object) for fact in found.facts}
    lines = [line for file in (DATA / "blimp").glob("*.jsonl") for line in file.read_text().splitlines()]
    assert texts == {re.sub(" +", " ", json.loads(line)["sentence_good"]) for line in lines}


def test_the_embedded_facts_are_read() -> None:
    embedded = pytest.importorskip("qloc.extract.embedded")
    if not embedded.facts_path().exists():
        pytest.skip("the embedded facts are not made yet")
    found = read_facts("embedded")
    assert found.source == "embedded"
    assert len(found) > 100
    assert any(fact.kind == "minimal_pair" for fact in found.facts)
    assert found.digest() == read_facts("embedded").digest()


def test_reading_facts_loads_no_torch() -> None:
    code = (
        "import sys, qloc.extract.datasets; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
