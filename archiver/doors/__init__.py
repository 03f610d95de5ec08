"""From settings to where messages come from and where answers go."""
