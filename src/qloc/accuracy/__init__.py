"""How exactly paths were integrated, and what that leaves open of a neuron set."""
