# Ukrainian, of Tatoeba's sentences, for a model of English, German and Russian; run.sh sources this.
NEW=ukr_Cyrl
OLD="deu_Latn rus_Cyrl"
RELATIVES="deu_Latn rus_Cyrl bel_Cyrl bul_Cyrl mkd_Cyrl srp_Cyrl pol_Latn slk_Latn"
MORE="eng_Latn fra_Latn spa_Latn ita_Latn por_Latn ron_Latn nld_Latn swe_Latn nob_Latn dan_Latn fin_Latn
  est_Latn lit_Latn lvs_Latn hun_Latn ces_Latn slv_Latn hrv_Latn tur_Latn ell_Grek kaz_Cyrl tat_Cyrl"
RECIPES=(czech.yaml ukrainian.yaml)
START=(--config flores=other_flores --config updates=2000 --config validate_every=1000 --config checkpoint_every=1000)

# Tatoeba's pairs: a line each, the same sentence in several of them.
tatoeba() { cat "$DATA/tatoeba/$PIVOT-$1.tsv"; }
# One pair of each sentence of either side.
once() { awk -F'\t' '!($1 in a) && !($2 in b) { a[$1]; b[$2]; print }'; }
# Of 24 pairs one is for dev, one for devtest, two are for the seed: alphabetical order makes any part unlike others.
part() { tatoeba $NEW | once | awk -v part="$1" '
  { name = NR % 24 == 1 ? "dev" : NR % 24 == 13 ? "devtest" : NR % 12 == 7 ? "seed" : "hidden" }
  name == part' | if [ "$1" = seed ]; then sed -n 1,1000p; else cat; fi; }
# Sentences with a German and a Russian translation, and none in the new language: tests of the other directions.
# Columns: English, German, Russian.
others() {
  LC_ALL=C join -t $'\t' <(tatoeba deu_Latn | once | LC_ALL=C sort) <(tatoeba rus_Cyrl | once | LC_ALL=C sort) |
    awk -F'\t' 'NR == FNR { known[$1]; next } !($1 in known)' <(tatoeba $NEW) - |
    awk -v rest="$1" 'NR % 3 == rest'
}
side() { if [ "$1" = $PIVOT ]; then cut -f1; else cut -f2; fi; }

# Pairs of another language: without the English of the new language's, and without either side of the tests.
known() {
  tatoeba "$1" | awk -F'\t' 'NR == FNR { left_out[$0]; next } !($1 in left_out) && !($2 in left_out)' \
    <(tatoeba $NEW | cut -f1; cat other_flores/*/*) -
}
start() { known "$2" | side "$1"; }
seed() { part seed; }
hidden() { part hidden | side "$1"; }
# English of other pairs of Tatoeba and of Wikipedia; what there is of the language itself. Nothing that is in its pairs.
around() {
  if [ "$1" = $PIVOT ]; then
    tatoeba tur_Latn | awk -F'\t' 'NR % 3 == 1 { print $1 }'
    sed -n 1,3000p "$DATA/nllb_seed/$PIVOT.txt"
  else
    zcat "$DATA/lid/$NEW.txt.gz"
  fi | awk 'NR == FNR { known[$0]; next } !($0 in known) { known[$0]; print }' <(tatoeba $NEW | side "$1") -
}

prepare() {
  for split in dev devtest; do
    for language in $PIVOT $NEW; do
      keep "flores/$split/$language.$split" eval "part $split | side $language"
    done
    mkdir -p "other_flores/$split"
    rest=$([ $split = dev ] && echo 0 || echo 1) column=0
    for language in $PIVOT $OLD; do
      column=$((column + 1))
      keep "other_flores/$split/$language.$split" eval "others $rest | cut -f$column"
    done
  done
  mkdir -p relatives
  for language in bel_Cyrl rus_Cyrl; do
    keep "relatives/$PIVOT-$language.tsv" eval "known $language | sed -n 1,5000p"
  done
}
