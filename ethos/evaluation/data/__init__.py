"""What ships with the evaluation: published figures, table configurations, communities, the report template."""
