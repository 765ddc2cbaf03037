"""Text from outside: cleaned, fenced, read as option letters, written as JSON lines and pages."""
