"""Image generation with its provenance: the API of document 1's Nano Banana part.

`client` is what users call, `requests` what they give and get; `gemini` and `geminibody` speak to
the Gemini API. What is written down is decided in `metrics`, `prices`, `failures` and `modelcall`,
and written in `recording`, through the context of `whence.insights`: the provenance of an image is
an insight like any other, in a run whose one model call has the operation `image`. `ancestry`
remembers which image is made from which; `dashboard` asks for figures. Users import
`whence.images`.
"""
