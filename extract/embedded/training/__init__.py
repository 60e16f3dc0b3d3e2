"""How the embedded models and their facts are made; for development only."""
