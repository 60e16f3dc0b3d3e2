"""Writing: from a skeleton and units to arrays, a card, and the manifest last."""
