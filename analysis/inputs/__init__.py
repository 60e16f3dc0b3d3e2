"""Inputs: a store as a study, its attributions, and the neuron sets that they give."""
