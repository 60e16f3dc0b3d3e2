"""What has entries of each query is seen by running a prompt twice and thrice, never guessed from a size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qloc.extract.models.architectures import Sites
from qloc.extract.passes.block_arguments import BlockCall, carried, each_tensor, for_rows
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.tokenizing import Target

HEADS = 2


class _Block(nn.Module):
    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return hidden


class _Model(nn.Module):
    """Gives its one block an argument of every kind, beside what is no tensor."""

    def __init__(self, window: int = 4) -> None:
        super().__init__()
        self.embedding, self.block, self.head = nn.Embedding(9, 3), _Block(), nn.Linear(3, 9)
        self.window = window

    @property
    def sites(self) -> Sites:
        return Sites(blocks=(self.block,), downs=(nn.Linear(4, 3),), head=self.head)

    def forward(self, input_ids: Tensor) -> Tensor:
        n, length = input_ids.shape
        mask = torch.ones(n, 1, length, length)
        alibi = torch.ones(n * HEADS, 1, length)
        of_all = torch.ones(HEADS, length)  # as many heads as there are queries in one of the runs
        windowed = mask if length > self.window else None
        hidden = self.block(
            self.embedding(input_ids),
            mask,
            None,
            tables=(of_all, [torch.ones(1, length), torch.tensor(2.0)]),
            biases={"alibi": alibi, "window": windowed},
        )
        return self.head(hidden)


def _carried(*lengths: int) -> dict[tuple[Any, ...], int]:
    model = _Model()
    targets = [Target(ids=(1,) * n, position=0, token=2) for n in lengths]
    return dict(carried(model, model.sites, "masked", targets))


def test_entries_of_each_query_are_counted() -> None:
    expected = {
        (0, 0, 0): 1,  # hidden states
        (0, 0, 1): 1,
        (0, 1, "tables", 0): 0,
        (0, 1, "tables", 1, 0): 0,
        (0, 1, "biases", "alibi"): HEADS,
    }
    assert _carried(3) == expected
    # behind a window there is one more mask, which a short prompt does not show
    assert _carried(3, 6) == {**expected, (0, 1, "biases", "window"): 1}
    assert _carried() == {}


@pytest.mark.parametrize("kind", ["gpt2", "mistral", "bert"])
def test_nothing_stays_on_a_model_and_hidden_states_are_of_each_query(plain_rows: Any, kind: str) -> None:
    engine: RowEngine
    engine, targets = plain_rows(kind)
    found = carried(engine.model, engine.sites, engine.family, targets[:1])
    hidden = {place[0] for place, entries in found.items() if entries == 1}
    assert hidden == set(range(engine.sites.n_layers))
    assert not any(module._forward_pre_hooks for module in engine.model.modules())


def test_every_tensor_is_changed_however_deep() -> None:
    places: list[tuple[Any, ...]] = []

    def double(place: tuple[Any, ...], value: Tensor) -> Tensor:
        places.append(place)
        return value * 2

    one = torch.tensor(1.0)
    value = (one, [one, None], {"a": (one,), "b": "text"})
    found = each_tensor(value, double, ("here",))
    assert found == (torch.tensor(2.0), [torch.tensor(2.0), None], {"a": (torch.tensor(2.0),), "b": "text"})
    assert places == [("here", 0), ("here", 1, 0), ("here", 2, "a", 0)]
    assert value == (one, [one, None], {"a": (one,), "b": "text"})


def test_subclasses_of_containers_are_left_alone() -> None:
    class Cache(dict[str, Tensor]):
        pass

    cache = Cache(key=torch.zeros(1))
    assert each_tensor(cache, lambda _, value: value + 1, ()) is cache


def test_entries_are_indexed_by_row() -> None:
    query = torch.tensor([0, 1, 1, 0])
    value = torch.arange(12.0).view(4, 3)
    assert torch.equal(for_rows(value, 2, 2, query), value[[0, 1, 2, 3, 2, 3, 0, 1]])
    assert torch.equal(for_rows(value[:2], 1, 2, query), value[[0, 1, 1, 0]])


def test_shared_tensors_are_kept_as_they_are() -> None:
    query = torch.tensor([0, 1, 1])
    for value, entries in (
        (torch.ones(2, 3), 0),  # two heads of all, not two queries
        (torch.tensor(1.0), 1),
        (torch.ones(3, 3), 2),  # another size than that of two entries a query
        (torch.ones(1, 3), None),  # never seen, and of one for all
        (torch.ones(2), None),
    ):
        assert for_rows(value, entries, 2, query) is value


def test_arguments_never_seen_are_of_each_query_where_their_size_says_so() -> None:
    query = torch.tensor([0, 1, 1])
    assert for_rows(torch.eye(2), None, 2, query).tolist() == [[1, 0], [0, 1], [0, 1]]
    assert for_rows(torch.eye(2)[:1], None, 1, torch.zeros(3, dtype=torch.int64)).shape == (1, 2)


@pytest.mark.parametrize("named", [False, True])
def test_a_call_gets_other_hidden_states_and_other_tensors(named: bool) -> None:
    hidden, mask, table = torch.zeros(1), torch.ones(1), torch.full((1,), 2.0)
    if named:
        call = BlockCall((mask,), {"hidden_states": hidden, "table": table})
    else:
        call = BlockCall((hidden, mask), {"table": table})
    assert call.hidden is hidden
    places: list[tuple[Any, ...]] = []

    def negative(place: tuple[Any, ...], value: Tensor) -> Tensor:
        places.append(place)
        return -value

    new = call.changed(torch.tensor([9.0]), negative)
    assert new.hidden.tolist() == [9]
    assert new.kwargs["table"].tolist() == [-2]
    assert new.args[-1].tolist() == [-1]
    assert places == [(0, 0 if named else 1), (1, "table")]
    assert call.hidden is hidden
