"""Common ground of several methods: sockets, rows, pictures, figures."""
