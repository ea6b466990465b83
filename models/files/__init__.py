"""Reading and writing the pack's own files, one module per format."""
