"""Sets in forms that other programs read, and cards that tell a stranger what a set is; one file a format."""
