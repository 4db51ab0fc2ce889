"""Frames to model input: pure functions on tensors, and the presets built from an InputSpec."""
