"""Running a prompt: order, execution, caching."""
