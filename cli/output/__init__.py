"""Tables and text for people, JSON for programs."""
