"""What probed costs, beside what others cost, measured side by side in one run: `make bench`."""
