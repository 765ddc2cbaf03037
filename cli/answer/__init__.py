"""`ethos answer`: one scenario, or a file of them."""
