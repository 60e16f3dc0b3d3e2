"""Files for papers: tables, figures, methods and references, and a ``main.tex`` that has them all."""
