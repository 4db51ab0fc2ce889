"""Weights that other projects published, read into networks of the zoo."""
