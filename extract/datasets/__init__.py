"""Readers of facts. Each returns a :class:`qloc.facts.FactSet`, and none loads torch."""

from qloc.extract.datasets.reading import read_facts

__all__ = ["read_facts"]
