"""Which instants make a clip (pure arithmetic), and the reading of them."""
