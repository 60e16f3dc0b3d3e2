"""Exchange: pack, push, pull, merge and compare stores, and convert them to HDF5 and back."""
