"""The paper's analyses: ablations, costs, n-grams, persona diversity, pool size, published figures."""
