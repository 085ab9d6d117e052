"""Questions, independent of the store.

The filter language, pages, the reasoning behind an output, guarded SQL.
"""
