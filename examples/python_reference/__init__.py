"""A research pipeline that answers questions about Python, traced by whence.

It works on the language reference that every CPython ships. Start at `pipeline`: it is the five
stages and everything that whence is told about them. The other modules do the work and know nothing
of tracing, except that they explain themselves: what they return carries its reasons.

    question -> intake -> rubric -> [ collection -> synthesis -> quality gate ] -> report
                                        ^                            |
                                        `---- settings, revised -----'
"""
