"""Thumbnails for pages of Python's language reference, generated with full provenance.

`studio` is what a user of whence writes: it asks for a thumbnail a page, refines one, and looks at
what it cost. The images come from the Gemini API when there is a key, and otherwise from `service`,
a small server on loopback that speaks the same API and really draws: `drawing` turns a text into a
PNG. The service has a policy, a rate limit and faults, as a real one has.
"""
