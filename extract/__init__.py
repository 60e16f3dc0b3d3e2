"""The extractor: a model and facts in, Blocks out; the only room that needs torch and transformers."""
