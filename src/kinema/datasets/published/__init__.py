"""Data sets as their authors distribute them, one file each."""
