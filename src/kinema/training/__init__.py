"""From a manifest to weights: one readable loop and what it needs."""
