"""Edit One for All (2401.10219): one edit, recorded as a direction, brings every picture to the same state."""
