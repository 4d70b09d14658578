"""Text for people: secrets removed, numbers made readable, near misses suggested."""
