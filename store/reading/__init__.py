"""Reading: open a store, complete or not, as xarray Datasets, and summarize its contents."""
