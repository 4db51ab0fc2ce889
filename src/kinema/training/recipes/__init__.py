"""Recipes that come with kinema: one flat YAML file each, complete in itself, citing its source."""
