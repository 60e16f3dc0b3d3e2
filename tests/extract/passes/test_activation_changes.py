"""Changed activations: which cells belong to which rows, by loops, and what they add, by whole products."""

from __future__ import annotations

import numpy as np
import torch

from qloc.extract.models.architectures import Sites
from qloc.extract.passes.activation_changes import CellRows, Cells


def _cells(*cells: tuple[int, int, int, float, float]) -> Cells:
    row, layer, neuron, factor, offset = zip(*cells, strict=True)
    return Cells(
        row=np.array(row, dtype=np.int64),
        layer=np.array(layer, dtype=np.int64),
        neuron=np.array(neuron, dtype=np.int64),
        factor=np.array(factor, dtype=np.float64),
        offset=np.array(offset, dtype=np.float64),
    )


def _listed(cells: Cells) -> list[tuple[float, ...]]:
    columns = (cells.row, cells.layer, cells.neuron, cells.factor, cells.offset)
    return list(zip(*(column.tolist() for column in columns), strict=True))


CELLS = _cells(
    (0, 1, 2, 0.0, 0.0), (2, 0, 0, 2.0, 0.0), (2, 1, 0, 1.0, 3.0), (2, 1, 1, 0.5, 1.0), (5, 0, 1, 0.0, 7.0)
)


def test_cells_of_chosen_rows_are_those_of_a_loop() -> None:
    for rows in ([2, 0], [5, 5, 1], [1, 3], [0, 1, 2, 3, 4, 5], []):
        expected = [
            (place, *cell[1:]) for place, row in enumerate(rows) for cell in _listed(CELLS) if cell[0] == row
        ]
        assert _listed(CELLS.of_rows(np.array(rows, dtype=np.int64))) == expected


def test_cells_of_a_layer_and_of_consecutive_rows() -> None:
    assert _listed(CELLS.of_layer(0)) == [(2, 0, 0, 2.0, 0.0), (5, 0, 1, 0.0, 7.0)]
    assert _listed(CELLS.between(1, 5)) == [(1, 0, 0, 2.0, 0.0), (1, 1, 0, 1.0, 3.0), (1, 1, 1, 0.5, 1.0)]
    assert _listed(CELLS.between(3, 5)) == _listed(Cells.none()) == []


def test_activations_become_factor_times_themselves_plus_offset() -> None:
    for dtype in (torch.float64, torch.float32):
        found = CELLS.changed(torch.tensor([4.0, 4.0, 4.0, 4.0, 4.0], dtype=dtype))
        assert found.dtype == dtype
        assert found.tolist() == [0, 8, 7, 3, 7]


def test_rows_are_ordered_by_the_first_layer_that_they_change(two_layers: Sites) -> None:
    rows = CellRows(two_layers, CELLS, 7)
    assert rows.first.tolist() == [1, 2, 0, 2, 2, 0, 2]
    assert rows.order.tolist() == [2, 5, 0, 1, 3, 4, 6]
    some = rows.of_rows(rows.order[:3])
    assert (some.n_rows, some.first.tolist()) == (3, [0, 0, 1])


def test_inputs_are_changed_at_each_target_and_nowhere_else(two_layers: Sites) -> None:
    rows = CellRows(two_layers, CELLS, 6)
    place = torch.tensor([1, 0, 3, 0, 0, 2])
    before = torch.randn(6, 4, 3, dtype=torch.float64)
    for layer in range(2):
        for present in (6, 3, 0):  # only the first rows may be there yet
            given, expected = before[:present].clone(), before[:present].clone()
            for row, of, neuron, factor, offset in _listed(CELLS):
                if of == layer and row < present:
                    at = int(row), int(place[int(row)]), int(neuron)
                    expected[at] = factor * expected[at] + offset
            rows.inputs(layer, given, place[:present])
            assert torch.equal(given, expected)
            rows.outputs(layer, given, given)
            assert torch.equal(given, expected)


def test_what_joins_is_the_difference_of_two_products(two_layers: Sites) -> None:
    """Rows from ``start`` on: the down-projection of their changed input less that of their query's own."""
    rows = CellRows(two_layers, CELLS, 6)
    given = torch.randn(2, 4, 3, dtype=torch.float64)
    query, place = torch.tensor([0, 1, 1, 0]), torch.tensor([2, 3, 3, 2])
    for layer, down in enumerate(two_layers.downs):
        output = torch.randn(4, 4, 2, dtype=torch.float64)
        changed = given[query].clone()
        for row, of, neuron, factor, offset in _listed(CELLS):
            if of == layer and 2 <= row < 6:
                at = int(row) - 2, int(place[int(row) - 2]), int(neuron)
                changed[at] = factor * changed[at] + offset
        expected = output + down(changed) - down(given[query])
        rows.joined(layer, 2, given, query, place, output)
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-14)


def test_rows_without_cells_join_unchanged(two_layers: Sites) -> None:
    output = torch.ones(1, 4, 2, dtype=torch.float64)
    given = torch.ones(1, 4, 3, dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.int64)
    CellRows(two_layers, Cells.none(), 1).joined(0, 0, given, zero, zero, output)
    assert bool((output == 1).all())
