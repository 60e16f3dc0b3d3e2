"""Every hypothesis test, offline: xarray groups in, a StudyResult out; neither torch nor zarr is needed."""
