"""Values and errors that every room shares. Nothing here imports torch."""
