"""Phase ``interventions``: neurons and knowledge synapses suppressed, enhanced or replaced."""
