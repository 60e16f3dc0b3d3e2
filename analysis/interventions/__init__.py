"""Interventions: which neurons are changed, and what changing them did to answers."""
