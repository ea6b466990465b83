"""Floor 3: the methods, pure torch functions without files, prints or a host."""
