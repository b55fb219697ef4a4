"""What scores miss: wrong languages, signs of hallucination, added toxicity."""
