"""What is known about weights that others published: one file a publisher."""
