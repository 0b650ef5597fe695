"""What to build: the recipe schema, and finding and loading recipes."""

from wheelsmith.recipe.book import LoadedRecipe, RecipeBook, load_recipe
from wheelsmith.recipe.schema import Recipe, json_schema

__all__ = ["LoadedRecipe", "Recipe", "RecipeBook", "json_schema", "load_recipe"]
