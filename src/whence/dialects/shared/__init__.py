"""What more than one dialect needs, one idea a module."""
