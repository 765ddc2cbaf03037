"""Stage 1 of the method: personas written by a language model, with bounded attempts."""
