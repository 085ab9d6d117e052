"""A folder to stand first on Python's path; what Python runs at its start is in `sitecustomize`."""
