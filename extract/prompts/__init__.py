"""Prompts: what is asked, as token ids and target positions; nothing here needs torch."""
