"""The encoder-decoder with Mixture-of-Experts layers: config, layers, losses, model directory."""
