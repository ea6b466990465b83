"""CoralStyleCLIP (2303.05031): text edits that learn their regions and layers."""
