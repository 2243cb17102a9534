"""Training: one loop for all stages, on accelerate."""
