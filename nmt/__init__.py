"""Neural machine translation: vocabulary, curriculum, Mixture-of-Experts training, translation."""
