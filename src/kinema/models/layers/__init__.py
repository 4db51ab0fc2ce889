"""Parts of networks that carry ideas of their own; a family's file says how they are put together."""
