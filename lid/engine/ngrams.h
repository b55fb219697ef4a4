// Character n-grams as fastText hashes them: shared by the compiled pass and the trainer.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
// The right instructions are chosen when the library is loaded, so a build moves between machines.
#define VECTORIZED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORIZED
#endif

namespace tongues {

struct Ngrams {
  uint32_t buckets, shortest, longest;
};

// Arrays over the characters of all words, each word in `<` and `>`.
struct NgramSpace {
  std::vector<uint32_t> bytes[4];  // of a character's UTF-8, sign-extended as fastText reads them; 0: none
  std::vector<uint32_t> left;      // characters of the word from here on
  std::vector<uint32_t> hash, row;
};

// Remainders by one divisor: Granlund and Montgomery 1994, figure 4.1.
struct Divisor {
  uint32_t number, multiplier, half, shift;

  explicit Divisor(uint32_t d) : number(d) {
    uint32_t bits = 0;
    while ((1ull << bits) < d) ++bits;
    multiplier = static_cast<uint32_t>(((1ull << 32) * ((1ull << bits) - d)) / d + 1);
    half = bits ? 1 : 0;
    shift = bits ? bits - 1 : 0;
  }
};

// Appends one more byte, where there is one, to the hashes of n - 1 characters.
VECTORIZED inline void hash_bytes(const uint32_t* byte, bool always, int64_t count, uint32_t* hash) {
  constexpr uint32_t kPrime = 16777619u;  // FNV-1a
  if (always) {
    for (int64_t i = 0; i < count; ++i) hash[i] = (hash[i] ^ byte[i]) * kPrime;
  } else {
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t longer = (hash[i] ^ byte[i]) * kPrime;
      hash[i] = byte[i] ? longer : hash[i];
    }
  }
}

VECTORIZED inline void remainders(const uint32_t* hash, Divisor by, int64_t count, uint32_t* row) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t high = static_cast<uint32_t>((static_cast<uint64_t>(by.multiplier) * hash[i]) >> 32);
    const uint32_t quotient = (high + ((hash[i] - high) >> by.half)) >> by.shift;
    row[i] = hash[i] - quotient * by.number;
  }
}

// Rows of the n-grams of words between single spaces: fastText's Dictionary::computeSubwords over each
// word in `<` and `>`, FNV-1a of the bytes, all n-grams of one length before those of the next.
// A bare `<` or `>` is none. All characters are hashed side by side, and what reaches beyond its word is
// left out in the end. `found` is called with the rows of each length once they are known.
template <typename Found>
inline void hash_ngrams(const Ngrams& settings, const uint32_t* points, size_t size, NgramSpace& space,
                        std::vector<uint32_t>& rows, const Found& found) {
  const size_t most = 2 * size + 2 + settings.longest;
  for (auto& column : space.bytes) column.resize(most);
  space.left.resize(most);
  space.hash.resize(most);
  space.row.resize(most);
  uint32_t* const first = space.bytes[0].data();
  uint32_t* const second = space.bytes[1].data();
  uint32_t* const third = space.bytes[2].data();
  uint32_t* const fourth = space.bytes[3].data();
  uint32_t* const left = space.left.data();
  size_t end = 0;
  uint32_t highest = 0;
  auto put = [&](uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    first[end] = a;
    second[end] = b;
    third[end] = c;
    fourth[end] = d;
    ++end;
  };
  auto signed_byte = [](uint32_t byte) { return byte | 0xFFFFFF00u; };
  auto later = [&](uint32_t c, int shift) { return signed_byte(0x80 | (c >> shift & 0x3F)); };
  for (size_t i = 0; i < size; ++i) {
    const size_t start = end;
    put('<', 0, 0, 0);
    for (; i < size && points[i] != ' '; ++i) {
      const uint32_t c = points[i];
      highest |= c;
      if (c < 0x80)
        put(c, 0, 0, 0);
      else if (c < 0x800)
        put(signed_byte(0xC0 | c >> 6), later(c, 0), 0, 0);
      else if (c < 0x10000)
        put(signed_byte(0xE0 | c >> 12), later(c, 6), later(c, 0), 0);
      else
        put(signed_byte(0xF0 | c >> 18), later(c, 12), later(c, 6), later(c, 0));
    }
    put('>', 0, 0, 0);
    for (size_t at = start; at < end; ++at) left[at] = static_cast<uint32_t>(end - at);
  }
  for (size_t at = end; at < end + settings.longest && at < most; ++at)
    for (auto& column : space.bytes) column[at] = 0;
  const int columns = highest < 0x80 ? 1 : highest < 0x800 ? 2 : highest < 0x10000 ? 3 : 4;
  const int64_t count = static_cast<int64_t>(end);
  const Divisor divisor(settings.buckets);
  std::fill_n(space.hash.data(), end, 2166136261u);
  rows.resize(end * (settings.longest + 1 - settings.shortest));
  uint32_t* out = rows.data();
  for (uint32_t n = 1; n <= settings.longest; ++n) {
    for (int column = 0; column < columns; ++column)
      hash_bytes(space.bytes[column].data() + n - 1, column == 0, count, space.hash.data());
    if (n < settings.shortest) continue;
    const uint32_t* const of_this_length = out;
    remainders(space.hash.data(), divisor, count, space.row.data());
    const uint32_t* const row = space.row.data();
    if (n == 1) {
      for (size_t at = 0; at < end; ++at) {
        *out = row[at];
        out += left[at] > 1 && at > 0 && left[at - 1] > 1;
      }
    } else {
      for (size_t at = 0; at < end; ++at) {
        *out = row[at];
        out += left[at] >= n;
      }
    }
    found(of_this_length, out);
  }
  rows.resize(static_cast<size_t>(out - rows.data()));
}

}  // namespace tongues
