"""Scores: coverage, accuracy, distances, intervals, and the scores of trivial predictors."""
