"""Places: a store as a packed archive or at a URL, read in place."""
