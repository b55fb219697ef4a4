"""The SentencePiece vocabulary: training it, and its language and tag tokens."""
