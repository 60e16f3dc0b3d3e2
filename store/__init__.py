"""The store: Blocks in, a verified Zarr v3 hierarchy out, lazily read by xarray.

============  ====================================================================
write         ``Writer``, ``write_unit``: from an Outline and Blocks to a store
read          ``open_store``: a store's groups as Datasets
verify        ``verify``: whether a store is what its manifest says
info          ``info``, ``render``: what is in a store
schema        the contract: groups, variables, dims, dtypes (docs/store.md)
layout        the sizes and units of one store
panel         which neurons of a Block are kept
ledger        unit files and the records that make them count
skeleton      the first thing written; fingerprints compared
arrays        chunks, shards, codecs
finalize      from unit files to arrays; the manifest last
manifest      digests of every object
unfinished    the units of an unfinished store as Datasets
check         whether a path is a store, of this schema
durable       fsync and rename
lock          one writer a store
============  ====================================================================
"""
