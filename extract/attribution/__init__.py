"""Attribution: integrals along paths of activations, and the score that each method makes of them."""
