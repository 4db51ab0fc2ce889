"""A network and its weights file as answers about videos."""
