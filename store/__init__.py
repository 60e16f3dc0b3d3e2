"""The store: Blocks in, a verified Zarr v3 hierarchy out, read lazily by xarray.

===========  ==========================================================================================
names        the files and folders at the top of a store, by name
files        durable writes, locks, staging, URLs, and the protocol of a place that holds named objects
schema       the contract: groups, variables, dims, dtypes, layouts, versions, and the manifest
places       a store as a packed archive or at a URL, read in place and checked against its manifest
units        which neurons of a Block are kept, unit files, and the ledger of units that count
integrity    whether a path is a store, and whether every object is what the manifest says
writing      ``Writer``, ``PhaseWriter``: from an outline and units to arrays, a card, and the manifest
reading      ``open_store``: a store, complete or not, as xarray Datasets; ``info``: what is in it
repair       ``Repair``: damaged objects are rebuilt until the store again is what its manifest says
exchange     pack, push, pull, merge, compare, and HDF5 export and import
===========  ==========================================================================================

Each layer imports only those above it in this table.
"""
