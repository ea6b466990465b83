"""Guards around other libraries' loaders."""
