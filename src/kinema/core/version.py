"""The version of kinema: a leaf that any room may import."""

__version__ = "0.1.0"
