"""The pool: all personas with their origins in SQL, and what is derived from it for retrieval."""
