"""Schema, the contract of a store: groups, variables, dims, dtypes, sizes, versions, and the manifest."""
