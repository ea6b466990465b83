"""Real photographs: aligned, inverted, adapted to, and pasted back."""
