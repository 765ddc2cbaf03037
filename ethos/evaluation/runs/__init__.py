"""Evaluation runs: configuration, execution, folder layout, results, reproduction."""
