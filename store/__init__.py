"""The store: Blocks in, a verified Zarr v3 hierarchy out, lazily read by xarray.

============  ====================================================================
write         ``Writer``, ``write_unit``: from an Outline and Blocks to a store
write_phase   ``PhaseWriter``: a further phase into a complete store
read          ``open_store``: a store's groups as Datasets
verify        ``verify``: whether a store is what its manifest says
repair        ``Repair``: a store made again what its manifest says
completing    ``roll_forward``: an interrupted assembling, ended without the model
info          ``info``, ``render``: what is in a store
schema        the contract: groups, variables, dims, dtypes (docs/store.md)
phase_schema  the contract of statistics, interventions, edits
versions      schemas of the past are read, those of the future refused
layout        the sizes and units of one store
phase_layout  the labels and sizes of one phase
coordinator   who holds the lock, and knows which units count
panel         which neurons of a Block are kept
ledger        unit files and the records that make them count
statistics    sums of activations by relation, streamed
skeleton      the first thing written; fingerprints compared
arrays        chunks, shards, codecs
assemble      from unit files to arrays
finalize      arrays, card, and the manifest last
append        a phase made beside the groups, moved in by renames
manifest      digests of every object
contents      which array, rows and units an object holds
damage        how a store differs from its manifest
rebuilding    one object of an array, from unit files
card          the README.md inside a complete store
unfinished    the units of an unfinished store as Datasets
place         a folder or an archive, read alike
archive       a packed store, looked through before it is read
pack          ``pack``, ``unpack``: a store as one file and back
hdf5          ``export``: a store as one HDF5 file
hdf5_import   ``import_hdf5``: and back, bit for bit
diff          ``compare``: two extractions of one plan, number by number
merge         ``merge``: units of several stores into one
metadata      what a stranger's metadata may say
check         whether a path is a store, of this schema
durable       fsync and rename
aside         folders and files made aside, renamed when whole
lock          one writer a store
============  ====================================================================
"""
