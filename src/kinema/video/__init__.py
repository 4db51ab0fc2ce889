"""Video files and streams as timed frames. The only room that decodes."""
