"""The VITAL tasks for lm-evaluation-harness (README.md)."""
