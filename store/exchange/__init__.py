"""Exchange: stores packed, pushed, pulled, merged, compared, and carried to HDF5 and back."""
