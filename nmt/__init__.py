"""Neural machine translation: vocabulary, curriculum, Mixture-of-Experts training, translation."""

from nmt.stand_in import install

install()
