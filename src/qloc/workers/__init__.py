"""Workers: where units are run, in this process or in those of dask.distributed."""
