"""Phase ``edits``: weights of down-projections edited, and what each edit does."""
