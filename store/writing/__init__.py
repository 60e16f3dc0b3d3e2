"""Writing: from a skeleton and units to arrays, a card, and a manifest last."""
