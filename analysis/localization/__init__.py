"""Localization: consistency, overlap and reliability of knowledge neurons, from attributions alone."""
