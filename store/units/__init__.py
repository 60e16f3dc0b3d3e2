"""Units: files written by workers, the ledger that makes them count, panels and streamed sums."""
