"""Data that Ethos ships: the starter pool, and scenarios for the demonstration."""
