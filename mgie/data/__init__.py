"""Data: the one record schema, photographs, made edits, and what training sees of them."""
