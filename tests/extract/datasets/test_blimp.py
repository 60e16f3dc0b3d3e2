"""BLiMP as minimal pairs: the frame of two sentences, one file, the published set."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from qloc.extract.datasets import read_facts
from qloc.extract.datasets.blimp import frame
from qloc.facts import Fact, Query

WriteLines = Callable[..., Path]
ProblemsOf = Callable[..., list[str]]


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


def test_a_pair_of_blimp(tmp_path: Path, write_lines: WriteLines) -> None:
    path = write_lines(tmp_path / "b.jsonl", blimp())
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


def test_pairs_that_cannot_be_asked_or_labelled_are_counted(tmp_path: Path, write_lines: WriteLines) -> None:
    swapped = blimp(pairID="1", sentence_good="What did he see?", sentence_bad="What he did see?")
    longer = blimp(pairID="2", sentence_good="He runs.", sentence_bad="He runs fast.")
    bare = blimp(pairID="3", sentence_good="We like the octopi.", sentence_bad="We like the octopus.")
    cue = blimp(pairID="4", UID="other", one_prefix_method=False)
    write_lines(tmp_path / "b.jsonl", swapped, longer, bare)
    write_lines(tmp_path / "a.jsonl", cue)
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


def test_what_is_wrong_with_blimp(tmp_path: Path, write_lines: WriteLines, problems_of: ProblemsOf) -> None:
    assert problems_of(f"blimp:{tmp_path}") == [
        f"BLiMP is '{tmp_path}'; expected a folder with BLiMP's .jsonl files in it. At {tmp_path}. "
        "Check the path."
    ]
    bad = {key: value for key, value in blimp(one_prefix_method="yes", UID="").items() if key != "pairID"}
    path = write_lines(tmp_path / "b.jsonl", blimp(), blimp(), bad)
    assert problems_of(f"blimp:{path}") == [
        f"key is 'pairID missing'; expected an object as BLiMP has them. At {path}, line 3. Add it.",
        f"UID is ''; expected text that is not empty. At {path}, line 3. Correct it.",
        f"one_prefix_method is 'yes'; expected true or false. At {path}, line 3. Correct it.",
        f"pairID is '0'; expected one that {path}, line 1 does not have. At {path}, line 2. "
        "Make them unique in their paradigm.",
    ]


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


def test_blimp_as_published(published: Path) -> None:
    found = read_facts(f"blimp:{published / 'blimp'}")
    assert (len(found.relations()), len(found), found.merged) == (8, 8000, 0)
    # The three: "Those drivers disgusts", as published; form and determiner disagree.
    assert found.skipped == {"pair without a feature label (kept)": 3}
    for fact in found.facts:
        (query,) = fact.queries
        assert query.text.count("[Y]") == 1
        assert fact.cue_in_prefix == (fact.relation != "determiner_noun_agreement_2")
    texts = {fact.queries[0].text.replace("[Y]", fact.object) for fact in found.facts}
    lines = [line for file in (published / "blimp").glob("*.jsonl") for line in file.read_text().splitlines()]
    assert texts == {re.sub(" +", " ", json.loads(line)["sentence_good"]) for line in lines}
