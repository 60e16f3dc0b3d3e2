"""Simulation: studies with a planted truth, for tests, teaching and calibration."""
