"""What the nodes of several stages share."""
