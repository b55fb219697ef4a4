// One pass over lines: decode, normalize (as lid/engine/preparation.py), hash n-grams (as fastText),
// gather int8 rows, multiply with the classes, look the n-grams up in the answer's profile.
//
// Lines go through every step in groups: what one step asks the memory for is near when the next
// needs it, and the class vectors are read once for a group.
//
// Nothing here knows Unicode: the tables come from lid/engine/characters.py, so this pass and the Python one
// see the same text. Nothing here allocates shared state: calls from several threads are safe.

#include <cmath>
#include <cstring>
#include <limits>

#include "ngrams.h"
#include "vectors.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define TONGUES_X86
#endif

namespace {

enum Flag : uint32_t {
  kSpace = 1, kWord = 2, kDigit = 4, kLetter = 8, kMark = 16, kUnspaced = 32, kNever = 64,
  kMaybe = 128,
};
constexpr int kClassShift = 8;    // canonical combining class, 8 bits
constexpr int kCounts = 9;        // of a line
constexpr int kScriptShift = 16;  // number of the script, 0 for none, 6 bits
constexpr uint64_t kHan = 2, kSimplified = 4, kTraditional = 8;  // bits of scripts 1 to 3

constexpr uint32_t kHangulS = 0xAC00, kHangulL = 0x1100, kHangulV = 0x1161, kHangulT = 0x11A7;
constexpr uint32_t kHangulLs = 19, kHangulVs = 21, kHangulTs = 28;
constexpr uint32_t kDottedI = 0x130, kSigma = 0x3C3, kFinalSigma = 0x3C2, kDot = 0x307;

constexpr uint64_t kMultiply = 0x9E3779B97F4A7C15ull, kMix = 0xD6E8FEB86659FD93ull;
constexpr uint64_t kWordSeed = 0xA24BAED4963EE407ull;
constexpr int kProfileGram = 5;
constexpr double kConfidenceWeight = 0.2, kDoubtful = 0, kLowest = -6, kHighest = 4;
constexpr uint32_t kSeparator = '|';

struct Tables {
  const uint32_t* flags;         // [code points]
  const uint32_t* lower;         // [code points]
  const uint32_t* decomposed;    // all full canonical decompositions, one after the other
  const uint32_t* decomposed_at; // [code points + 1]
  const uint64_t* pairs;         // sorted first << 21 | second
  const uint32_t* composed;      // what each pair composes to
  uint64_t pair_count;
  uint64_t code_points;
};

struct Model {
  const Tables* tables;
  const int8_t* rows;       // [buckets, dim]
  const float* row_scale;   // [buckets]
  const float* output;      // [classes / 16, dim, 16], zeros after the last class
  const uint64_t* scripts;  // [classes], bit s: may be written in script s; 0: in any
  const uint8_t* profiles;  // [classes, 2^profile_bits / 8], or null
  const double* typical;      // [classes, 5], what is typical for each: lid/engine/familiarity.py
  int64_t buckets, dim, classes, min_ngram, max_ngram, profile_bits, max_characters;
};

struct Text {
  std::vector<uint32_t> points;
  std::vector<uint32_t> spare;
  uint64_t scripts = 0;   // bits of its characters' scripts
  uint64_t writable = 0;  // bits of which a class needs one
  bool has_letters = false;
};

struct Workspace {
  Text text;
  std::vector<uint32_t> indices;
  int64_t grams = 0;  // how many places in `indices` are of 5-grams, where those of words begin
  std::vector<uint32_t> padded;
  tongues::NgramSpace space;
  std::vector<float> logits;
  std::vector<int64_t> order;
  int64_t best[2] = {-1, -1};  // -1: none
};

uint32_t flags_of(const Tables& t, uint32_t c) { return c < t.code_points ? t.flags[c] : 0; }

// UTF-8 that Python has written, so it is valid; at most `most` code points.
void decode(const uint8_t* p, const uint8_t* end, int64_t most, std::vector<uint32_t>& out) {
  out.resize(static_cast<size_t>(std::min<int64_t>(most, end - p)));
  uint32_t* to = out.data();
  uint32_t* const full = to + out.size();
  while (p < end && to < full) {
    uint32_t c = *p++;
    if (c >= 0x80) {
      int more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
      c &= 0x3Fu >> more;
      for (; more && p < end; --more) c = c << 6 | (*p++ & 0x3Fu);
    }
    *to++ = c;
  }
  out.resize(static_cast<size_t>(to - out.data()));
}

uint8_t* encode(uint32_t c, uint8_t* to) {
  if (c < 0x80) {
    *to++ = static_cast<uint8_t>(c);
    return to;
  }
  if (c < 0x800) {
    *to++ = static_cast<uint8_t>(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      *to++ = static_cast<uint8_t>(0xE0 | c >> 12);
    } else {
      *to++ = static_cast<uint8_t>(0xF0 | c >> 18);
      *to++ = static_cast<uint8_t>(0x80 | (c >> 12 & 0x3F));
    }
    *to++ = static_cast<uint8_t>(0x80 | (c >> 6 & 0x3F));
  }
  *to++ = static_cast<uint8_t>(0x80 | (c & 0x3F));
  return to;
}

uint32_t combining_class(const Tables& t, uint32_t c) {
  return flags_of(t, c) >> kClassShift & 0xFF;
}

// Quick check of Unicode Standard Annex 15, section 9.
bool is_composed(const Tables& t, const std::vector<uint32_t>& points) {
  uint32_t last = 0;
  for (uint32_t c : points) {
    if (c < 0x300) {
      last = 0;
      continue;
    }
    uint32_t flags = flags_of(t, c);
    uint32_t own = flags >> kClassShift & 0xFF;
    if ((flags & (kNever | kMaybe)) || (own && last > own)) return false;
    last = own;
  }
  return true;
}

uint32_t compose_pair(const Tables& t, uint32_t a, uint32_t b) {
  if (a - kHangulL < kHangulLs && b - kHangulV < kHangulVs)
    return kHangulS + ((a - kHangulL) * kHangulVs + (b - kHangulV)) * kHangulTs;
  if (a - kHangulS < kHangulLs * kHangulVs * kHangulTs && (a - kHangulS) % kHangulTs == 0 &&
      b > kHangulT && b < kHangulT + kHangulTs)
    return a + (b - kHangulT);
  uint64_t key = static_cast<uint64_t>(a) << 21 | b;
  const uint64_t* end = t.pairs + t.pair_count;
  const uint64_t* found = std::lower_bound(t.pairs, end, key);
  return found != end && *found == key ? t.composed[found - t.pairs] : 0;
}

// Normalization form C: decompose, order marks, compose (annex 15, section 1.3).
void compose(const Tables& t, std::vector<uint32_t>& points, std::vector<uint32_t>& spare) {
  spare.clear();
  for (uint32_t c : points) {
    if (c >= t.code_points) {
      spare.push_back(c);
      continue;
    }
    uint32_t from = t.decomposed_at[c], to = t.decomposed_at[c + 1];
    if (from == to) spare.push_back(c);
    for (; from < to; ++from) spare.push_back(t.decomposed[from]);
  }
  for (size_t i = 1; i < spare.size(); ++i) {
    uint32_t c = spare[i], own = combining_class(t, c);
    size_t j = i;
    for (; own && j > 0 && combining_class(t, spare[j - 1]) > own; --j) spare[j] = spare[j - 1];
    spare[j] = c;
  }
  points.clear();
  int64_t starter = -1;
  uint32_t last = 0;
  for (uint32_t c : spare) {
    uint32_t own = combining_class(t, c);
    bool adjacent = starter >= 0 && static_cast<int64_t>(points.size()) == starter + 1;
    if (starter >= 0 && (adjacent || (last < own && last != 0))) {
      uint32_t both = compose_pair(t, points[starter], c);
      if (both) {
        points[starter] = both;
        continue;
      }
    }
    if (own == 0) starter = static_cast<int64_t>(points.size());
    last = own;
    points.push_back(c);
  }
}

uint64_t script_bit(const Tables& t, uint32_t c) {
  return 1ull << (flags_of(t, c) >> kScriptShift & 0x3F);
}

// Scripts of which a class needs one: Chinese is in the script that more of its characters are in only.
uint64_t writable_scripts(const Tables& t, const Text& text) {
  uint64_t kinds = text.scripts & (kSimplified | kTraditional);
  const uint64_t others = text.scripts & ~(kHan | kinds);
  if (kinds == (kSimplified | kTraditional)) {
    int64_t more = 0;
    for (uint32_t c : text.points) {
      const uint64_t bit = script_bit(t, c);
      more += (bit == kSimplified) - (bit == kTraditional);
    }
    if (more) kinds = more > 0 ? kSimplified : kTraditional;
  } else if (!kinds && (text.scripts & kHan)) {
    kinds = kSimplified | kTraditional;
  }
  return others | kinds;
}

// What lid/engine/preparation.py calls `prepare`, step for step.
void prepare(const Tables& t, const uint8_t* from, const uint8_t* to, int64_t most, Text& text) {
  std::vector<uint32_t>& points = text.points;
  std::vector<uint32_t>& spare = text.spare;
  decode(from, to, most, points);
  if (!is_composed(t, points)) compose(t, points, spare);
  // No character becomes more than two here, and no piece is shorter than its space.
  spare.resize(2 * points.size() + 1);
  uint32_t* to_spare = spare.data();
  bool space = false;
  uint32_t last = 0;
  bool in_number = false;
  for (uint32_t c : points) {
    const uint32_t flags = flags_of(t, c);
    if (flags & kSpace) {
      space = true;
      continue;
    }
    if (space && to_spare != spare.data()) {
      *to_spare++ = ' ';
      last = ' ';
      in_number = false;
    }
    space = false;
    if (flags & kDigit) {
      if (!in_number) *to_spare++ = '0';
      in_number = true;
      last = '0';
      continue;
    }
    in_number = false;
    if (c == kDottedI) {
      *to_spare++ = 'i';
      *to_spare++ = last = kDot;
      continue;
    }
    uint32_t low = c < t.code_points ? t.lower[c] : c;
    if (low == kFinalSigma) low = kSigma;
    if (low == last && !(flags_of(t, low) & kWord)) continue;
    *to_spare++ = last = low;
  }
  const uint32_t* const end = to_spare;
  points.resize(2 * static_cast<size_t>(end - spare.data()) + 1);
  uint32_t* const begin = points.data();
  uint32_t* out = begin;
  uint64_t scripts = 0;
  uint32_t seen = 0;
  auto push_space = [&] {
    if (out != begin && out[-1] != ' ') *out++ = ' ';
  };
  auto push = [&](uint32_t c, uint32_t flags) {
    seen |= flags;
    scripts |= 1ull << (flags >> kScriptShift & 0x3F);
    *out++ = c;
  };
  int pieces = 0;
  for (const uint32_t* at = spare.data(); at < end; ++at) {
    const uint32_t c = *at;
    if (c == ' ') {
      pieces = 0;
      push_space();
      continue;
    }
    const uint32_t flags = flags_of(t, c);
    if (flags & kUnspaced) {
      ++pieces;
      push(c, flags);
      while (at + 1 < end && (flags_of(t, at[1]) & kMark)) {
        ++at;
        push(*at, flags_of(t, *at));
      }
      if (pieces == 4) {
        if (at + 1 < end) push_space();
        pieces = 0;
      }
      continue;
    }
    pieces = 0;
    if (c == '_' && at + 1 < end && at[1] == '_') {
      push('_', flags);
      push_space();
      ++at;
    } else if (c == '<' && end - at > 3 && at[1] == '/' && at[2] == 's' && at[3] == '>') {
      push_space();
      at += 3;
    } else {
      push(c, flags);
    }
  }
  while (out != begin && out[-1] == ' ') --out;
  points.resize(static_cast<size_t>(out - begin));
  text.has_letters = (seen & kLetter) != 0;
  text.scripts = scripts & ~1ull;  // bit 0: of no script
  text.writable = writable_scripts(t, text);
}

constexpr int64_t kAhead = 24;  // how long before it is read a row is asked for

// Asks for a row of the table, which is in memory, as far as the second-level cache or the first:
// the first has no room for a group's rows, and asked for all at once, many would not come at all.
template <int kFirst>
inline void ask(const int8_t* rows, const float* scale, int64_t dim, uint32_t row) {
  const int8_t* const begin = rows + static_cast<int64_t>(row) * dim;
  for (int64_t d = 0; d < dim; d += 64) __builtin_prefetch(begin + d, 0, kFirst ? 3 : 2);
  __builtin_prefetch(scale + row, 0, kFirst ? 3 : 2);
}

// Rows of the line's n-grams; those of one length are asked for while the next are hashed.
void find_rows(const Model& m, Workspace& w) {
  const tongues::Ngrams settings{static_cast<uint32_t>(m.buckets), static_cast<uint32_t>(m.min_ngram),
                                 static_cast<uint32_t>(m.max_ngram)};
  const auto ask_all = [&](const uint32_t* row, const uint32_t* end) {
    for (; row < end; ++row) ask<0>(m.rows, m.row_scale, m.dim, *row);
  };
  tongues::hash_ngrams(settings, w.text.points.data(), w.text.points.size(), w.space, w.indices, ask_all);
}

// The sums below are the same, in the same order. gcc converts bytes one by one or by way of shorts,
// so those of 64 dimensions are written out.
#ifdef TONGUES_X86
__attribute__((target("avx512f"))) void sum_rows_avx512(const int8_t* rows, const float* scale,
                                                        const uint32_t* indices, int64_t count,
                                                        float* sum) {
  __m512 total[4];
  for (__m512& part : total) part = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; ++i) {
    if (i + kAhead < count) ask<1>(rows, scale, 64, indices[i + kAhead]);
    const int8_t* row = rows + static_cast<int64_t>(indices[i]) * 64;
    const __m512 s = _mm512_set1_ps(scale[indices[i]]);
    for (int part = 0; part < 4; ++part) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 16 * part));
      // All lanes: without a mask gcc 12 warns of its own header.
      const __m512i wide = _mm512_maskz_cvtepi8_epi32(0xFFFF, bytes);
      const __m512 values = _mm512_maskz_cvtepi32_ps(0xFFFF, wide);
      total[part] = _mm512_add_ps(total[part], _mm512_mul_ps(s, values));
    }
  }
  for (int part = 0; part < 4; ++part) _mm512_storeu_ps(sum + 16 * part, total[part]);
}

__attribute__((target("avx2"))) void sum_rows_avx2(const int8_t* rows, const float* scale,
                                                   const uint32_t* indices, int64_t count, float* sum) {
  __m256 total[8];
  for (__m256& part : total) part = _mm256_setzero_ps();
  for (int64_t i = 0; i < count; ++i) {
    if (i + kAhead < count) ask<1>(rows, scale, 64, indices[i + kAhead]);
    const int8_t* row = rows + static_cast<int64_t>(indices[i]) * 64;
    const __m256 s = _mm256_set1_ps(scale[indices[i]]);
    for (int part = 0; part < 8; ++part) {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + 8 * part));
      const __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
      total[part] = _mm256_add_ps(total[part], _mm256_mul_ps(s, values));
    }
  }
  for (int part = 0; part < 8; ++part) _mm256_storeu_ps(sum + 8 * part, total[part]);
}
#endif

VECTORIZED void sum_rows(const int8_t* rows, const float* scale, const uint32_t* indices,
                         int64_t count, int64_t dim, float* sum) {
  std::fill(sum, sum + dim, 0.0f);
  for (int64_t i = 0; i < count; ++i) {
    if (i + kAhead < count) ask<1>(rows, scale, dim, indices[i + kAhead]);
    const int8_t* row = rows + static_cast<int64_t>(indices[i]) * dim;
    const float s = scale[indices[i]];
    for (int64_t d = 0; d < dim; ++d) sum[d] += s * static_cast<float>(row[d]);
  }
}

uint64_t profile_bit(const Model& m, uint64_t hash) {
  hash ^= hash >> 32;
  hash *= kMix;
  return hash >> (64 - m.profile_bits);
}

// How many 5-grams and words of the text the profile of a class has: see lid/engine/familiarity.py.
void count_known(const uint8_t* profile, const Workspace& w, int32_t* grams, int32_t* words) {
  const uint32_t* bit = w.indices.data();
  const uint32_t* const first_word = bit + w.grams;
  const uint32_t* const end = bit + w.indices.size();
  auto count = [&](const uint32_t* to) {
    int32_t known = 0;
    for (; bit < to; ++bit) {
      if (end - bit > kAhead) __builtin_prefetch(profile + (bit[kAhead] >> 3));
      known += profile[*bit >> 3] >> (*bit & 7) & 1;
    }
    return known;
  };
  *grams = count(first_word);
  *words = count(end);
}

const uint8_t* profile_of(const Model& m, int64_t label) {
  return m.profiles + (label << (m.profile_bits - 3));
}

// Places of the line's 5-grams and words in the profile of its best class, left in `indices`; all are
// asked for before the first is read: profiles of many classes miss the cache.
void find_places(const Model& m, int32_t* counts, Workspace& w) {
  const uint8_t* profile = profile_of(m, w.best[0]);
  const std::vector<uint32_t>& points = w.text.points;
  const int64_t size = static_cast<int64_t>(points.size());
  w.padded.assign(static_cast<size_t>(size + 2), kSeparator);
  for (int64_t i = 0; i < size; ++i)
    if (points[i] != ' ') w.padded[i + 1] = points[i];
  w.indices.resize(2 * static_cast<size_t>(size) + 2);
  uint32_t* const begin = w.indices.data();
  uint32_t* out = begin;
  auto ask = [&](uint64_t hash) {
    const uint64_t bit = profile_bit(m, hash);
    __builtin_prefetch(profile + (bit >> 3), 0, 2);
    *out++ = static_cast<uint32_t>(bit);
  };
  const uint32_t* text = w.padded.data();
  uint64_t hash = 0, leaving = 1;  // what a character weighs once it is left behind
  for (int j = 0; j < kProfileGram; ++j) leaving *= kMultiply;
  for (int64_t i = 0; i < size + 2; ++i) {
    hash = hash * kMultiply + text[i];
    if (i >= kProfileGram) hash -= text[i - kProfileGram] * leaving;
    if (i >= kProfileGram - 1) ask(hash);
  }
  w.grams = out - begin;
  for (int64_t i = 0; i < size; ++i) {
    uint64_t word = kWordSeed, power = 1;
    for (; i < size && points[i] != ' '; ++i, power *= kMultiply) word += points[i] * power;
    ask(word);
  }
  w.indices.resize(static_cast<size_t>(out - begin));
  counts[1] = static_cast<int32_t>(w.grams);
  counts[3] = static_cast<int32_t>(out - begin - w.grams);
}

// Whether a line is so little familiar that its second best class counts: `own` below kDoubtful
// in lid/engine/familiarity.py. A little above is as well, since the second's weight begins there at zero.
bool is_doubtful(const double* typical, const int32_t* counts, double score) {
  const double length = std::sqrt(std::min(1.0, counts[4] / std::max(typical[4], 1.0)));
  auto z = [&](int32_t known, int32_t all, const double* of) {
    const double share = known / static_cast<double>(std::max(all, 1));
    return std::clamp((share - of[0]) / of[1] * length, kLowest, kHighest);
  };
  const double odds = std::clamp(score, 1e-4, 1 - 1e-4);
  const double own = (z(counts[0], counts[1], typical) + z(counts[2], counts[3], typical + 2)) / 2;
  return own + kConfidenceWeight * std::log(odds / (1 - odds)) < kDoubtful + 1e-3;
}

void look_up_second(const Model& m, int64_t second, int32_t* counts, const Workspace& w) {
  const uint8_t* profile = profile_of(m, second);
  for (uint32_t bit : w.indices) __builtin_prefetch(profile + (bit >> 3));
  count_known(profile, w, counts + 5, counts + 6);
}

// How many characters of a line are in scripts that the class is not written in.
int32_t count_foreign(const Model& m, int64_t best, const Text& text) {
  const uint64_t foreign = m.scripts[best] ? text.scripts & ~m.scripts[best] : 0;
  if (!foreign) return 0;
  int32_t number = 0;
  for (uint32_t c : text.points)
    number += (foreign & script_bit(*m.tables, c)) != 0;
  return number;
}

// Prepares a line and asks for its rows; returns whether there is anything to identify.
bool begin_line(const Model& m, const uint8_t* from, const uint8_t* to, int32_t* counts, Workspace& w) {
  std::fill(counts, counts + kCounts, 0);
  counts[8] = -1;
  w.best[0] = w.best[1] = -1;
  prepare(*m.tables, from, to, m.max_characters, w.text);
  counts[4] = static_cast<int32_t>(w.text.points.size());
  if (w.text.points.empty()) return false;
  if (!w.text.has_letters) {
    counts[4] = -1;
    return false;
  }
  find_rows(m, w);
  return true;
}

void sum_line(const Model& m, Workspace& w, float* hidden) {
  const int64_t count = static_cast<int64_t>(w.indices.size());
  const uint32_t* const rows = w.indices.data();
#ifdef TONGUES_X86
  static const bool has_avx512 = __builtin_cpu_supports("avx512f");
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (has_avx512 && m.dim == 64)
    sum_rows_avx512(m.rows, m.row_scale, rows, count, hidden);
  else if (has_avx2 && m.dim == 64)
    sum_rows_avx2(m.rows, m.row_scale, rows, count, hidden);
  else
#endif
    sum_rows(m.rows, m.row_scale, rows, count, m.dim, hidden);
  for (int64_t d = 0; d < m.dim; ++d) hidden[d] /= static_cast<float>(std::max<int64_t>(count, 1));
}

// The best `top` classes whose script occurs in the line, and the two best in any case.
void rank_classes(const Model& m, int64_t top, int32_t* labels, float* scores, Workspace& w) {
  float* const logits = w.logits.data();
  const float highest = tongues::highest(logits, m.classes);
  float* const allowed = logits + tongues::padded(m.classes);
  tongues::mask(logits, m.scripts, w.text.writable, m.classes, allowed);
  tongues::find_two(allowed, m.classes, w.best);
  const float whole = tongues::exponentials(logits, m.classes, highest, logits);
  std::vector<int64_t>& order = w.order;
  order.assign(w.best, w.best + 2);
  if (top > 2) {
    order.clear();
    for (int64_t c = 0; c < m.classes; ++c)
      if (allowed[c] != tongues::kNone) order.push_back(c);
    top = std::min(top, static_cast<int64_t>(order.size()));
    std::partial_sort(order.begin(), order.begin() + top, order.end(), [&](int64_t a, int64_t b) {
      return allowed[a] != allowed[b] ? allowed[a] > allowed[b] : a < b;
    });
  }
  for (int64_t rank = 0; rank < top && order[rank] >= 0; ++rank) {
    labels[rank] = static_cast<int32_t>(order[rank]);
    scores[rank] = std::exp(allowed[order[rank]] - highest) / whole;
  }
}

// Asks for what the best class knows of the line.
void begin_look_up(const Model& m, int32_t* counts, Workspace& w) {
  counts[8] = static_cast<int32_t>(w.best[1]);
  if (w.best[0] < 0) return;
  counts[7] = count_foreign(m, w.best[0], w.text);
  if (m.profiles) find_places(m, counts, w);
}

void look_up(const Model& m, float score, int32_t* counts, const Workspace& w) {
  if (w.best[0] < 0 || !m.profiles) return;
  count_known(profile_of(m, w.best[0]), w, counts, counts + 2);
  if (w.best[1] >= 0 && is_doubtful(m.typical + w.best[0] * 5, counts, score))
    look_up_second(m, w.best[1], counts, w);
}

constexpr int64_t kGroup = tongues::kLinesAtOnce;

}  // namespace

extern "C" {

// One more with every change of a structure or a function below; its Python side asks for it.
int32_t tongues_interface() { return 3; }

// Texts are [offsets[i], offsets[i + 1]) of `text`. Per line: `top` labels (-1: none) and scores;
// counts: 5-grams known, 5-grams, words known, words, characters (0: empty, -1: no letters), 5-grams
// and words known to the second best class, characters in foreign scripts, the second best class.
void tongues_identify(const Model* model, const uint8_t* text, const int64_t* offsets,
                      int64_t lines, int64_t top, int32_t* labels, float* scores,
                      int32_t* counts) {
  std::vector<Workspace> group(kGroup);
  std::vector<float> hidden(static_cast<size_t>(kGroup * model->dim));
  std::fill(labels, labels + lines * top, -1);
  std::fill(scores, scores + lines * top, 0.0f);
  for (int64_t start = 0; start < lines; start += kGroup) {
    int64_t asked[kGroup], size = 0;
    const int64_t stop = std::min(start + kGroup, lines);
    for (int64_t i = start; i < stop; ++i)
      if (begin_line(*model, text + offsets[i], text + offsets[i + 1], counts + i * kCounts, group[size]))
        asked[size++] = i;
    float* logits[kGroup];
    for (int64_t g = 0; g < size; ++g) {
      sum_line(*model, group[g], hidden.data() + g * model->dim);
      group[g].logits.resize(static_cast<size_t>(2 * tongues::padded(model->classes)));
      logits[g] = group[g].logits.data();
    }
    tongues::multiply(model->output, hidden.data(), model->classes, model->dim, size, logits);
    for (int64_t g = 0; g < size; ++g) {
      rank_classes(*model, top, labels + asked[g] * top, scores + asked[g] * top, group[g]);
      begin_look_up(*model, counts + asked[g] * kCounts, group[g]);
    }
    for (int64_t g = 0; g < size; ++g)
      look_up(*model, scores[asked[g] * top], counts + asked[g] * kCounts, group[g]);
  }
}

// Writes the prepared lines one after the other; `out` has room for `room` bytes. Returns how many
// lines fitted; out_offsets[0] is 0.
int64_t tongues_prepare(const Tables* tables, const uint8_t* text, const int64_t* offsets,
                        int64_t lines, int64_t most, uint8_t* out, int64_t room,
                        int64_t* out_offsets) {
  Text prepared;
  std::vector<uint8_t> bytes;
  int64_t at = 0;
  for (int64_t i = 0; i < lines; ++i) {
    prepare(*tables, text + offsets[i], text + offsets[i + 1], most, prepared);
    bytes.resize(4 * prepared.points.size());
    uint8_t* end = bytes.data();
    for (uint32_t c : prepared.points) end = encode(c, end);
    const int64_t size = end - bytes.data();
    if (at + size > room) return i;
    std::copy(bytes.data(), end, out + at);
    at += size;
    out_offsets[i + 1] = at;
  }
  return lines;
}

}
