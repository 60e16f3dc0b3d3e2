"""Sets in the manner of BLiMP: the names of their keys, and sentences without spaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qloc.extract.datasets import read_facts
from qloc.extract.datasets.blimp import frame
from qloc.extract.datasets.blimp_layouts import in_blimp_layout, is_without_spaces

WriteLines = Callable[..., Path]


def test_chinese_in_the_layout_of_sling(tmp_path: Path, write_lines: WriteLines) -> None:
    """A decoder is asked only where nothing but punctuation follows the difference."""
    common = {"phenomenon": "Anaphor", "paradigm": "self_female", "field": "syntax"}
    path = write_lines(
        tmp_path / "s.jsonl",
        {"sentence_good": "女医生通过她。", "sentence_bad": "女医生通过他。", "pair_ID": 0, **common},
        {"sentence_good": "女医生看她自己。", "sentence_bad": "女医生看他自己。", "pair_ID": 1, **common},
    )
    last, inner = read_facts(f"blimp:{path}").facts
    assert (last.id, last.relation, last.object, last.bad) == ("self_female-0", "self_female", "她", "他")
    assert [fact.queries[0].text for fact in (last, inner)] == ["女医生通过[Y]。", "女医生看[Y]自己。"]
    assert (last.cue_in_prefix, inner.cue_in_prefix) == (True, False)
    (group,) = read_facts(f"blimp:{path}", pairs="feature").facts
    assert [(q.good, q.bad) for q in group.queries] == [("她", "他")] * 2
    assert not group.cue_in_prefix  # one sentence decides behind the difference: the group is not asked


def test_japanese_in_the_layout_of_jblimp(tmp_path: Path, write_lines: WriteLines) -> None:
    line = {"ID": 4, "type": "acceptability", "paradigm": "case"}
    path = write_lines(
        tmp_path / "j.jsonl",
        {**line, "good_sentence": "太郎が花子に会う。", "bad_sentence": "太郎が花子を会う。"},
    )
    (fact,) = read_facts(f"blimp:{path}").facts
    assert (fact.object, fact.bad, fact.queries[0].text) == ("に", "を", "太郎が花子[Y]会う。")


def test_characters_are_compared_only_where_words_are_not_parted() -> None:
    assert frame("我看他。", "我他看。") is None  # in two places
    assert frame("He runs.", "He run.") is not None
    assert not is_without_spaces("Tokyo 東京 is a city")
    assert is_without_spaces("ฉันกินข้าว")
    assert in_blimp_layout({"UID": "u", "pairID": "1"}) == {"UID": "u", "pairID": "1"}
