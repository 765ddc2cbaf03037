"""What ships with the pool: starter personas, word lists of the lint, templates of its pages."""
