"""Benchmark items: loading, gold labels, predictions, leakage."""
