"""Repair: a damaged store made again what its manifest says."""
