"""Recipes: index arrays over the rows of a set."""
