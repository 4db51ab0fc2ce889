"""Labelled videos: manifests, splits, checks, cached frames and loading."""
