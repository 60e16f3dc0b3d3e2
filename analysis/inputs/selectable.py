"""Labels by which queries and facts are selected: ``.sel(relation="P36")``, ``.groupby("relation")``.

xarray selects by an indexed coordinate, and leaves indexed coordinates out of ``to_dataframe()``. The two
classes here are xarray's own but for that: their tables have every label as a column.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import pandas as pd
import xarray as xr

from qloc.arrays import Array

FACT_LABELS: Final = ("id", "subject", "relation", "object")
"""Columns of /facts by which what lies along ``fact`` is selected."""

QUERY_LABELS: Final = ("template", "relation")
"""Columns of /queries by which what lies along ``query`` is selected."""


class LabelledArray(xr.DataArray):  # type: ignore[no-untyped-call]  # xarray's __init_subclass__
    """A DataArray whose ``to_dataframe()`` has a column for each label."""

    __slots__ = ()

    def to_dataframe(
        self, name: Hashable | None = None, dim_order: Sequence[Hashable] | None = None
    ) -> pd.DataFrame:
        """Return a table, one row for each element.

        Parameters
        ----------
        name : hashable, optional
            Name of the column of values; that of the array where it is None.
        dim_order : sequence of hashable, optional
            Order of the dimensions in the table's index.

        Returns
        -------
        pandas.DataFrame
            Columns: every coordinate that is no dimension, and the values.
        """
        return xr.DataArray(self.reset_index(_labels(self))).to_dataframe(name, dim_order)


class LabelledDataset(xr.Dataset):  # type: ignore[no-untyped-call]  # xarray's __init_subclass__
    """A Dataset whose ``to_dataframe()`` has a column for each label."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if type(part) is xr.DataArray:
            part.__class__ = LabelledArray  # a copy would be slow, and what it loads would not be kept here
        return part

    def to_dataframe(self, dim_order: Sequence[Hashable] | None = None) -> pd.DataFrame:
        """Return a table, one row for each combination of the dimensions.

        Parameters
        ----------
        dim_order : sequence of hashable, optional
            Order of the dimensions in the table's index.

        Returns
        -------
        pandas.DataFrame
            Columns: every variable and every coordinate that is no dimension.
        """
        plain = self.reset_index(_labels(self))
        return xr.Dataset(plain.data_vars, plain.coords).to_dataframe(dim_order)


def _labels(labelled: xr.Dataset | xr.DataArray) -> list[Hashable]:
    return [name for name in labelled.xindexes if name not in labelled.dims]


def selectable(group: xr.Dataset, dim: str, labels: Mapping[str, Array]) -> LabelledDataset:
    """Return a Dataset whose rows can be selected and grouped by labels.

    Parameters
    ----------
    group : xarray.Dataset
        Variables along ``dim`` and any other dimensions.
    dim : str
        ``query`` or ``fact``.
    labels : dict of str to ndarray, shape (dim,)
        Labels by name. Those that are an index of the group already stay as they are.

    Returns
    -------
    LabelledDataset
        The group with an indexed coordinate for each label.

    Examples
    --------
    >>> group = selectable(xr.Dataset({"k": ("fact", [2, 3, 4])}), "fact", {"relation": ["a", "b", "a"]})
    >>> group.sel(relation="a").k.values.tolist(), group.k.groupby("relation").mean().values.tolist()
    ([2, 4], [3.0, 3.0])
    >>> sorted(group.to_dataframe().columns)
    ['k', 'relation']
    """
    for name, values in labels.items():
        if name not in group.xindexes:
            group = group.assign_coords({name: (dim, values)}).set_xindex(name)
    return LabelledDataset(group.data_vars, group.coords, group.attrs)
