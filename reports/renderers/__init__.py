"""Renderers: a document as HTML, Markdown, LaTeX or JSON."""
