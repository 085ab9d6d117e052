"""What model calls cost: prices, where they come from, and the arithmetic.

Comes in: the buckets of a call, its model and its time. Goes out: a cost with the price it was
computed with and the date from which that price holds, or no cost and a sentence that says why. The
prices are those of a price book of the user's, and else those of the pinned package genai-prices;
nothing is fetched. A price that is not known is never 0. What stored calls cost is asked in
`whence.analysis.costing`.
"""
