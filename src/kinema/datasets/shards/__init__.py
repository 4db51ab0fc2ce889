"""Data sets as shards: tar files of short videos, written once and read as streams from a disk or a URL."""
