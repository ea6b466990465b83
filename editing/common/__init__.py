"""What several methods share: sockets, rows, pictures, figures."""
