"""The reference for people, made from the classes: pages of docs/ and what `probed explain` prints."""
