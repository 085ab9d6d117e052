"""The research pipeline over Python's reference, traced with the API of `whence.research`."""
