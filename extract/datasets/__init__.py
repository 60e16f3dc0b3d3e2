"""Datasets: readers of facts, each gives a :class:`qloc.facts.FactSet`; none loads torch."""

from qloc.extract.datasets.reading import read_facts

__all__ = ["read_facts"]
