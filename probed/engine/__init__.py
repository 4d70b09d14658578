"""The running of checks: when they are due, one run, and what is known of each check over time."""
