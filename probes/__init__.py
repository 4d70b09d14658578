"""What can be asked: one file, or one folder, a kind. Nothing is imported here."""
