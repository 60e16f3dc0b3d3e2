"""Passes: batches of changed rows through one unmodified model, and what the answers are behind them."""
