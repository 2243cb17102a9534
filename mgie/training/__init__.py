"""Training: one loop, four stages, on accelerate."""
