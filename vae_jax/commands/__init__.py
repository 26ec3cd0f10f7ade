"""Commands: the only room that reads flags. Each makes a configuration and calls the library."""
