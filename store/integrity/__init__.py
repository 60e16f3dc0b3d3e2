"""Integrity: check that a path is a store, and that its objects are those its manifest lists."""
