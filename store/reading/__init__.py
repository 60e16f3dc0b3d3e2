"""Reading: a store, complete or not, as xarray Datasets; what is in it."""
