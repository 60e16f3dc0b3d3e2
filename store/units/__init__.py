"""Units: the neurons of a Block that are kept, unit files, the ledger of units that count, and sums."""
