"""From a scenario to a recorded answer: panel, comments, aggregation by mode, record."""
