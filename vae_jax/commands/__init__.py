"""The commands. This package alone reads flags; each command makes a configuration from them."""
