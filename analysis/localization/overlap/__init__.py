"""What paraphrases of a fact share (H1a, H1b): which queries are compared, their overlaps, and the excess."""
