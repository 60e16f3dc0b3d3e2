"""Editing: which slots are edited, and what edits did to answers and to other facts."""
