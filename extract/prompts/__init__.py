"""Turn queries into token ids and target positions. Nothing here needs torch."""
