"""Data that Ethos ships: scenarios for the demonstration."""
