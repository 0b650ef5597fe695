"""What to build: the recipe schema, and finding and loading recipes."""
