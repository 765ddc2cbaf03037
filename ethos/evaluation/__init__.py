"""Evaluation: the paper's tasks, methods and metrics, run and scored by anyone (paper sections 4 to 6).

Data flows one way: a task's items go to a method, whose predictions go to a file; metrics score a file against its
task, and a report shows scores. Each part knows the ones before it only.
"""
