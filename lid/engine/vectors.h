// Products of class vectors with lines, and softmax: the arithmetic that the compiled pass and the
// trainer share. No result depends on which instructions there are (build with -ffp-contract=off).

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "ngrams.h"

namespace tongues {

constexpr int64_t kLanes = 16;
constexpr int64_t kLinesAtOnce = 4;
constexpr float kNone = -std::numeric_limits<float>::infinity();

#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Wpsabi"  // these types never cross a call
#endif
typedef float Float8 __attribute__((vector_size(32), aligned(4)));
typedef int32_t Int8 __attribute__((vector_size(32)));

inline int64_t padded(int64_t classes) { return (classes + kLanes - 1) / kLanes * kLanes; }

// Logits of lines: each block of 16 class vectors is read once for kLinesAtOnce of them.
//
// output: [classes / 16, dim, 16]; hidden: [lines, dim]; logits[i]: [padded(classes)].
VECTORIZED inline void multiply(const float* output, const float* hidden, int64_t classes, int64_t dim,
                                int64_t lines, float* const* logits) {
  for (int64_t first = 0; first < lines; first += kLinesAtOnce) {
    const float* own[kLinesAtOnce];  // beyond the last line, the last again
    for (int i = 0; i < kLinesAtOnce; ++i) own[i] = hidden + std::min(first + i, lines - 1) * dim;
    for (int64_t c = 0; c < classes; c += kLanes) {
      const float* block = output + c * dim;
      Float8 low[kLinesAtOnce] = {}, high[kLinesAtOnce] = {};
      for (int64_t d = 0; d < dim; ++d, block += kLanes) {
        const Float8 a = *reinterpret_cast<const Float8*>(block);
        const Float8 b = *reinterpret_cast<const Float8*>(block + 8);
        for (int i = 0; i < kLinesAtOnce; ++i) {
          low[i] += own[i][d] * a;
          high[i] += own[i][d] * b;
        }
      }
      for (int i = 0; i < kLinesAtOnce && first + i < lines; ++i) {
        *reinterpret_cast<Float8*>(logits[first + i] + c) = low[i];
        *reinterpret_cast<Float8*>(logits[first + i] + c + 8) = high[i];
      }
    }
  }
}

// exp of values at most 0: Cephes' expf. Written in vectors, since gcc does not find them here.
__attribute__((always_inline)) inline Float8 exponential(Float8 value) {
  const Float8 least = Float8{} - 87.0f;
  const Float8 x = value > least ? value : least;
  const Int8 n = __builtin_convertvector(x * 1.44269504088896341f - 0.5f, Int8);
  const Float8 whole = __builtin_convertvector(n, Float8);
  const Float8 r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Float8 y = Float8{} + 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  return y * reinterpret_cast<Float8>((n + 127) << 23);
}

// values = exp(values - highest); returns their sum.
VECTORIZED inline float exponentials(const float* values, int64_t count, float highest, float* results) {
  Float8 total = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const Float8 block = exponential(*reinterpret_cast<const Float8*>(values + i) - highest);
    *reinterpret_cast<Float8*>(results + i) = block;
    total += block;
  }
  if (i < count) {
    const size_t bytes = sizeof(float) * static_cast<size_t>(count - i);
    Float8 block = Float8{} + kNone;
    std::memcpy(&block, values + i, bytes);
    block = exponential(block - highest);
    std::memcpy(results + i, &block, bytes);
    total += block;  // beyond the last value: exp(-87)
  }
  float whole = 0;
  for (int lane = 0; lane < 8; ++lane) whole += total[lane];
  return whole;
}

VECTORIZED inline float highest(const float* values, int64_t count) {
  float most[kLanes];
  std::fill(most, most + kLanes, kNone);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane)
      most[lane] = values[i + lane] > most[lane] ? values[i + lane] : most[lane];
  for (; i < count; ++i) most[0] = std::max(most[0], values[i]);
  return *std::max_element(most, most + kLanes);
}

// kNone in place of classes none of whose scripts the line has.
VECTORIZED inline void mask(const float* logits, const uint64_t* scripts, uint64_t there, int64_t classes,
                            float* allowed) {
  for (int64_t c = 0; c < classes; ++c)
    allowed[c] = scripts[c] == 0 || (scripts[c] & there) ? logits[c] : kNone;
}

// The two highest values' places, the earlier first among equals; -1 where there is none.
inline void find_two(const float* values, int64_t count, int64_t* best) {
  const auto find = [&](float value, int64_t except) {
    if (value == kNone) return int64_t{-1};
    for (int64_t i = 0; i < count; ++i)
      if (values[i] == value && i != except) return i;
    return int64_t{-1};
  };
  best[0] = find(highest(values, count), -1);
  best[1] = -1;
  if (best[0] < 0) return;
  const float second =
      std::max(highest(values, best[0]), highest(values + best[0] + 1, count - best[0] - 1));
  best[1] = find(second, best[0]);
}

}  // namespace tongues
