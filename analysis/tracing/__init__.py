"""Causal tracing: which queries are traced, and where restoring states helps."""
