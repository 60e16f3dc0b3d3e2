"""The contract: groups, variables, dims, dtypes, sizes, versions, and the manifest."""
