"""Batched decoding for local models: prompt reading, key-value cache, packed layers, shared prefixes."""
