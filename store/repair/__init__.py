"""Repair: restore a damaged store to what its manifest lists."""
