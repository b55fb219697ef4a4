# Czech, of captions of photographs (Multi30k), for a model of English, German and French; run.sh sources this.
NEW=ces_Latn
OLD="deu_Latn fra_Latn"
RELATIVES="deu_Latn fra_Latn slk_Latn pol_Latn slv_Latn hrv_Latn ukr_Cyrl rus_Cyrl"
MORE="eng_Latn spa_Latn ita_Latn por_Latn ron_Latn nld_Latn swe_Latn nob_Latn dan_Latn fin_Latn
  est_Latn lit_Latn lvs_Latn hun_Latn bos_Latn szl_Latn srp_Cyrl mkd_Cyrl bul_Cyrl bel_Cyrl tur_Latn
  ell_Grek"
RECIPES=(czech.yaml)
START=(--config flores=flores)
CAPTIONS=$DATA/multi30k

# Lines of the captions' training text. 1-19,000: the starting model's. 19,001-20,000: the seed.
# 20,001-29,000: scattered in the shards.
captions() { zcat "$CAPTIONS/train.$1.txt.gz" | sed -n "$2p"; }
start() { captions "$1" 1,19000; }
seed() { paste <(captions $PIVOT 19001,20000) <(captions $NEW 19001,20000); }
hidden() { captions "$1" 20001,29000; }

pairs() { cat "$DATA"/{wmt_newstest,tatoeba}/"$PIVOT-$NEW.tsv"; }
# News of other language pairs, without what the news in the new language translates.
news() {
  for language in fin_Latn tur_Latn; do
    cut -f1 "$DATA/wmt_newstest/$PIVOT-$language.tsv" | tail -n 1500
  done | grep -vxFf <(pairs | cut -f1) | awk '!seen[$0]++'
}
around() {
  if [ "$1" = $PIVOT ]; then
    cat "$DATA/nllb_seed/$PIVOT.txt"
    news
  else
    for source in wmt_newstest tatoeba; do
      sed -n 1,4000p "$DATA/$source/$PIVOT-$NEW.tsv"
    done | cut -f2
  fi
}

prepare() {
  for language in $PIVOT $OLD $NEW; do
    keep "flores/dev/$language.dev" cat "$CAPTIONS/val.$language.txt"
    keep "flores/devtest/$language.devtest" cat "$CAPTIONS/test_2016_flickr.$language.txt"
  done
  mkdir -p monolingual
  keep "monolingual/$NEW.txt" captions $NEW 1,9000
}
