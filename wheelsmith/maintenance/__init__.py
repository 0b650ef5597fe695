"""Recipes looked after: lock, bump, mirror."""
