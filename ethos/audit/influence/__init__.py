"""How much each persona moved an answer: textual support, leave-one-out, order, Shapley values."""
