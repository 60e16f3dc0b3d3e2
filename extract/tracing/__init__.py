"""Phase ``tracing``: the subject is corrupted, and states of the clean pass are restored one at a time."""
