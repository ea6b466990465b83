"""Networks that read pictures into codes."""
