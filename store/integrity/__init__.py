"""Integrity: whether a path is a store, and whether it is what its manifest says."""
