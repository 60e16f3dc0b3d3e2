"""Extraction: read facts, run a language model on them, and return the numbers as Blocks.

This is the only sub-package that needs torch and transformers.
"""
