"""Synthetic videos made by formulas alone, for pre-training: classes of motion, one file a kind."""
