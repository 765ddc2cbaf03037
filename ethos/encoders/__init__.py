"""Encoders: text to unit vectors, entailment between two texts, and the weights they load."""
