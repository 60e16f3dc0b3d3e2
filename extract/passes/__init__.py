"""Passes: run batches of changed rows through one unmodified model, and read the answers behind them."""
