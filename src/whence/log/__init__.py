"""Where records land first: append-only files that are the truth about every run.

`home` knows the folders; `segment` the names and life of a segment; `writer` appends to one;
`reader` reads any of them, whoever writes; `resend` and `resolve` are the two halves of writing a
resent value once; `blobs` keeps what is too large for a line; `catalog` says which segments are
archived.
"""
