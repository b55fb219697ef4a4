"""Decoding: one step of the decoder, beam search, sampling, long inputs."""
