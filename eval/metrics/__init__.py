"""spBLEU, BLEU, chrF and chrF++: counts, formulas, and the numbers of sacrebleu."""
