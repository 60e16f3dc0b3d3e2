"""Comparison: several studies on the facts that all of them were asked."""
