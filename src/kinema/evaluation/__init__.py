"""How good a classifier is: metrics, protocols, reports."""
