"""Inference: resampling, intervals, effect sizes and corrections; nothing here knows of a study."""
