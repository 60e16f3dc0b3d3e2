"""Attribution: integrals of gradients along paths of activations, and the scores of each method."""
