"""Reproductions: a published study's tables, its values beside ours."""
