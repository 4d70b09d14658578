"""The probe kinds: one module or package each. Nothing is imported here."""
