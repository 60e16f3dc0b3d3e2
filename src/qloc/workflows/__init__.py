"""Workflows: the rooms joined, a function for each command."""
