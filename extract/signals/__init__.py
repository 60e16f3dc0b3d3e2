"""Phase ``signals``: attributions, activations, gradients, attention and answers of every query."""
