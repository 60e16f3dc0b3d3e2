"""Figures: tables drawn as inline SVG, and said in words."""
