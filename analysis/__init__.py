"""Every hypothesis test, from the cache: xarray in, StudyResult out, no torch and no Zarr."""
