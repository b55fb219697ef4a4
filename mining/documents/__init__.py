"""Documents that are translations of each other: which ones, and sentence by sentence."""
