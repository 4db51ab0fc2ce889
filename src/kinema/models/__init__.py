"""Bare networks, the table of their variants, and our weights file."""
