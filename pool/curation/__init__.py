"""Quality of the pool: lint, duplicates, lifecycle, diversity, report."""
