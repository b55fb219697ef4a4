"""The Mixture-of-Experts layer: gate, dispatch, experts, expert output masking."""
