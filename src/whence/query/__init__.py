"""Questions, independent of the store: the filter language, pages, the reasoning behind an output, guarded SQL."""
