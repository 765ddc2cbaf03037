"""Tasks, solvers and scorers for inspect_ai."""
