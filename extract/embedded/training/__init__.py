"""Make the embedded models and their facts; for development only."""
