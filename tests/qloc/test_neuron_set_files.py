"""Files with users' own neuron sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.neuron_set_files import neuron_set_labels, read_own_sets
from qloc.phase_plan import NEURON_SETS, InterventionPlan


def test_own_sets_are_read_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "sets.json"
    path.write_text('{"mine": {"f1": [[0, 3], [2, 1]], "f2": []}, "also mine": {}}')
    own = read_own_sets(path)
    assert own == {"mine": {"f1": ((0, 3), (2, 1)), "f2": ()}, "also mine": {}}
    labels = ("mine", "also mine", "mine_matched", "also mine_matched", "matched")
    assert neuron_set_labels(InterventionPlan(), own)[-5:] == labels
    for less in (InterventionPlan(own_controls=False), InterventionPlan(sets=("own",))):
        assert "mine_matched" not in neuron_set_labels(less, own)
    assert read_own_sets(None) == {}


def test_every_problem_of_own_sets_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sets.json"
    path.write_text('{"own": {}, "a": 3, "b": {"f": [[0, 1], [1, -1]], "g": [[0]], "h": []}}')
    with pytest.raises(InputError) as caught:
        read_own_sets(path)
    assert caught.value.problems == (
        f"name of a set is 'own'; expected a name of your own, none of {', '.join(NEURON_SETS)}. "
        f"At {path}. Rename it.",
        f"set 'a' is 'int'; expected {{fact id: neurons}}. At {path}. Mend the file.",
        f"set 'b' of fact 'f' is [[0, 1], [1, -1]]; expected [[layer, index], …]. At {path}. Mend the file.",
        f"set 'b' of fact 'g' is [[0]]; expected [[layer, index], …]. At {path}. Mend the file.",
    )
    path.write_text('{"a": {}, "a_matched": {}}')
    with pytest.raises(InputError, match=r"^name of a set is 'a_matched'; expected another name"):
        read_own_sets(path)
    path.write_text("[]")
    with pytest.raises(InputError, match=r"^file is 'list'; expected JSON of the form "):
        read_own_sets(path)
