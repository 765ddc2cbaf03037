"""Measurements that print ratios against a baseline of the same run; see each file's first lines."""
