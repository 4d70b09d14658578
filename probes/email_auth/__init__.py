"""What a domain publishes for its mail, judged by its outcome."""
