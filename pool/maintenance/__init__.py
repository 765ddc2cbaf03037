"""Verification, backup, forgetting, retention, re-embedding, full-text search."""
