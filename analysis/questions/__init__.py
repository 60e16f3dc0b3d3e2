"""The questions of an analysis, one a module: each a function from what was asked to a Question."""
