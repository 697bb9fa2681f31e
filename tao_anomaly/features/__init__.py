"""What an object looks like and how it moves."""
