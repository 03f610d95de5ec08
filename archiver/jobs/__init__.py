"""What a message can ask for: from its request to its answer."""
