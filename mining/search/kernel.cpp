// Nearest neighbors by int8 products: quantize, multiply in tiles, keep each side's best, and score
// the survivors in full precision. See docs/decisions/0007.
//
// One pass over the products serves both directions. Columns are unsigned (vpdpbusd multiplies
// unsigned with signed bytes); what that adds is subtracted again with the sum of the row. Nothing
// here has shared state: calls from several threads are safe.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define X86 1
// The right instructions are chosen at run time, so a build moves between machines.
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")))
#define AVX2 __attribute__((target("avx2,f16c,fma")))
#if !defined(__clang__) && defined(__linux__)
#define VECTORIZED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#endif
#ifndef VECTORIZED
#define VECTORIZED
#endif

namespace {

constexpr int kRows = 12;       // rows of a tile: 12 x 2 accumulators fill the registers
constexpr int kColumns = 32;    // columns of a panel
constexpr int kDepth = 4;       // bytes that one instruction multiplies and adds
constexpr int kPanels = 8;      // panels that stay in the second-level cache while rows go by
constexpr int kLanes = 16;      // float32 in the widest register
constexpr int kProjected = 8;   // rows that are projected at once
constexpr float kSpanned = 1e-5f;  // share of a vector's length that rounding may have left
constexpr float kLowest = -std::numeric_limits<float>::infinity();

struct Side {
  const int8_t* codes;   // rows: [count, depth]; columns: panels of [depth / 4, 32, 4], unsigned
  const float* scale;    // [count], columns padded to whole panels
  const float* offset;   // [count], what centering took off, added again
  float* scores;         // [count, kept], min-heaps by score
  int32_t* ids;          // [count, kept]; -1 where there is nothing yet
  int64_t count;
  int64_t first;         // id of the first one
};

enum Level { kPlain = 0, kAvx2 = 1, kVnni = 2 };

int detect() {
#ifdef X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    return kVnni;
  if (__builtin_cpu_supports("avx2")) return kAvx2;
#endif
  return kPlain;
}

float plain_half(uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  float value;
  if (exponent == 31)
    value = fraction ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  else if (exponent == 0)
    value = std::ldexp(static_cast<float>(fraction), -24);
  else
    value = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return h >> 15 ? -value : value;
}

void widen_plain(const uint16_t* x, int64_t width, float* out) {
  for (int64_t d = 0; d < width; ++d) out[d] = plain_half(x[d]);
}

// Products of two float16 are exact in float32, and their sums in float64 as long as they stay
// below 32: multiples of 2^-48 with 53 bits. So the order of addition does not matter.
double dot_plain(const uint16_t* x, const uint16_t* y, int64_t width) {
  double sum = 0;
  for (int64_t d = 0; d < width; ++d) sum += plain_half(x[d]) * plain_half(y[d]);
  return sum;
}

void tile_plain(const int8_t* rows, int64_t depth, int count, const uint8_t* panel, int32_t* out) {
  for (int i = 0; i < count; ++i) {
    int32_t* to = out + i * kColumns;
    std::fill(to, to + kColumns, 0);
    for (int64_t d = 0; d < depth; d += kDepth)
      for (int j = 0; j < kColumns; ++j)
        for (int b = 0; b < kDepth; ++b)
          to[j] += rows[i * depth + d + b] * panel[(d * kColumns) + j * kDepth + b];
  }
}

#ifdef X86
AVX2 void widen_f16c(const uint16_t* x, int64_t width, float* out) {
  int64_t d = 0;
  for (; d + 8 <= width; d += 8)
    _mm256_storeu_ps(out + d, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + d))));
  for (; d < width; ++d) out[d] = plain_half(x[d]);
}

AVX2 double dot_avx2(const uint16_t* x, const uint16_t* y, int64_t width) {
  __m256d low = _mm256_setzero_pd(), high = low;
  int64_t d = 0;
  for (; d + 8 <= width; d += 8) {
    const __m256 product = _mm256_mul_ps(
        _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + d))),
        _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(y + d))));
    low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(product)));
    high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(product, 1)));
  }
  double lanes[4];
  _mm256_storeu_pd(lanes, _mm256_add_pd(low, high));
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + dot_plain(x + d, y + d, width - d);
}

AVX512 double dot_avx512(const uint16_t* x, const uint16_t* y, int64_t width) {
  __m512d low = _mm512_setzero_pd(), high = low;
  int64_t d = 0;
  for (; d + 16 <= width; d += 16) {
    const __m512 product = _mm512_mul_ps(
        _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + d))),
        _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(y + d))));
    low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(product)));
    high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(product), 1))));
  }
  return _mm512_reduce_add_pd(_mm512_add_pd(low, high)) + dot_plain(x + d, y + d, width - d);
}

// Columns of seven bits here, or the sums of two products would overflow sixteen.
AVX2 void tile_avx2(const int8_t* rows, int64_t depth, int count, const uint8_t* panel, int32_t* out) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int i = 0; i < count; i += 2) {
    const int8_t* first = rows + i * depth;
    const int8_t* second = rows + std::min(i + 1, count - 1) * depth;
    __m256i sums[2][4];
    for (auto& row : sums)
      for (auto& sum : row) sum = _mm256_setzero_si256();
    for (int64_t d = 0; d < depth; d += kDepth) {
      int32_t words[2];
      std::memcpy(words, first + d, kDepth);
      std::memcpy(words + 1, second + d, kDepth);
      const __m256i a = _mm256_set1_epi32(words[0]), b = _mm256_set1_epi32(words[1]);
      for (int j = 0; j < 4; ++j) {
        const __m256i column =
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel + d * kColumns + j * 32));
        sums[0][j] = _mm256_add_epi32(sums[0][j], _mm256_madd_epi16(_mm256_maddubs_epi16(column, a), ones));
        sums[1][j] = _mm256_add_epi32(sums[1][j], _mm256_madd_epi16(_mm256_maddubs_epi16(column, b), ones));
      }
    }
    for (int r = 0; r < std::min(2, count - i); ++r)
      for (int j = 0; j < 4; ++j)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + (i + r) * kColumns + j * 8), sums[r][j]);
  }
}

// Rows beyond `count` repeat the last one. Every loop has a fixed length and is unrolled, so that
// the sums stay in registers.
AVX512 void tile_vnni(const int8_t* rows, int64_t depth, int count, const uint8_t* panel, int32_t* out) {
  __m512i sums[kRows][2];
  int64_t at[kRows];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    at[i] = std::min(i, count - 1) * depth;
    sums[i][0] = sums[i][1] = _mm512_setzero_si512();
  }
  for (int64_t d = 0; d < depth; d += kDepth) {
    const __m512i left = _mm512_loadu_si512(panel + d * kColumns);
    const __m512i right = _mm512_loadu_si512(panel + d * kColumns + 64);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      int32_t word;
      std::memcpy(&word, rows + at[i] + d, kDepth);
      const __m512i row = _mm512_set1_epi32(word);
      sums[i][0] = _mm512_dpbusd_epi32(sums[i][0], left, row);
      sums[i][1] = _mm512_dpbusd_epi32(sums[i][1], right, row);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    _mm512_storeu_si512(out + i * kColumns, sums[i][0]);
    _mm512_storeu_si512(out + i * kColumns + 16, sums[i][1]);
  }
}
#endif

using Tile = void (*)(const int8_t*, int64_t, int, const uint8_t*, int32_t*);
using Dot = double (*)(const uint16_t*, const uint16_t*, int64_t);
using Widen = void (*)(const uint16_t*, int64_t, float*);

Tile tile_of(int level) {
#ifdef X86
  if (level == kVnni) return tile_vnni;
  if (level == kAvx2) return tile_avx2;
#endif
  return tile_plain;
}

Dot dot_of(int level) {
#ifdef X86
  if (level == kVnni) return dot_avx512;
  if (level == kAvx2) return dot_avx2;
#endif
  return dot_plain;
}

Widen widen_of(int level) {
#ifdef X86
  if (level >= kAvx2) return widen_f16c;
#endif
  return widen_plain;
}

// Replaces the lowest of a min-heap.
void replace_lowest(float* scores, int32_t* ids, int64_t kept, float score, int32_t id) {
  int64_t hole = 0;
  for (;;) {
    int64_t child = 2 * hole + 1;
    if (child >= kept) break;
    if (child + 1 < kept && scores[child + 1] < scores[child]) ++child;
    if (scores[child] >= score) break;
    scores[hole] = scores[child];
    ids[hole] = ids[child];
    hole = child;
  }
  scores[hole] = score;
  ids[hole] = id;
}

// Cosines of a row of a tile; a bit for each that is above its row's lowest or its column's.
VECTORIZED uint32_t cosines(const int32_t* products, int32_t shift, float scale, float offset,
                            float row_floor, const float* column_scale, const float* column_offset,
                            const float* column_floor, float* out) {
  uint32_t above = 0;
  for (int j = 0; j < kColumns; ++j) {
    const float value = static_cast<float>(products[j] - shift) * scale * column_scale[j] +
                        (offset + column_offset[j]);
    out[j] = value;
    above |= static_cast<uint32_t>((value > row_floor) | (value > column_floor[j])) << j;
  }
  return above;
}

struct Quantized {
  float scale, error, length;
};

// Sums in lanes: what the compiler may not reorder itself.
VECTORIZED float inner(const float* x, const float* y, int64_t width) {
  float lanes[4 * kLanes] = {};
  int64_t d = 0;
  for (; d + 4 * kLanes <= width; d += 4 * kLanes)
    for (int l = 0; l < 4 * kLanes; ++l) lanes[l] += x[d + l] * y[d + l];
  for (int l = 0; d + l < width; ++l) lanes[l] += x[d + l] * y[d + l];
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

// codes = round(x / scale), and how far that is from it.
VECTORIZED Quantized quantize(const float* x, int64_t width, int limit, int8_t* codes) {
  float largest = 0;
  for (int64_t d = 0; d < width; ++d) largest = std::max(largest, std::fabs(x[d]));
  const float scale = largest > 0 ? largest / static_cast<float>(limit) : 1.0f;
  const float back = 1.0f / scale;
  float lanes[kLanes] = {};
  for (int64_t first = 0; first < width; first += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, width - first);
    for (int64_t l = 0; l < count; ++l) {
      const float code = std::nearbyint(x[first + l] * back);
      codes[first + l] = static_cast<int8_t>(code);
      const float rest = x[first + l] - code * scale;
      lanes[l] += rest * rest;
    }
  }
  float error = 0;
  for (const float lane : lanes) error += lane;
  return {scale, std::sqrt(error), std::sqrt(inner(x, x, width))};
}

typedef float Wide __attribute__((vector_size(sizeof(float) * kLanes), aligned(4), may_alias));

// out[i] = x[i] basis; the basis lies in panels of [width, 32]. Rows beyond `count` repeat the last.
VECTORIZED void project(const float* x, int64_t width, int count, const float* basis, int64_t lead,
                        float* out) {
  const float* row[kProjected];
  for (int i = 0; i < kProjected; ++i) row[i] = x + std::min(i, count - 1) * width;
  for (int64_t j = 0; j < lead; j += kColumns) {
    const float* panel = basis + j * width;
    Wide sums[kProjected][2] = {};
    for (int64_t d = 0; d < width; ++d) {
      const Wide left = *reinterpret_cast<const Wide*>(panel + d * kColumns);
      const Wide right = *reinterpret_cast<const Wide*>(panel + d * kColumns + kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kProjected; ++i) {
        sums[i][0] += row[i][d] * left;
        sums[i][1] += row[i][d] * right;
      }
    }
    for (int i = 0; i < count; ++i) {
      *reinterpret_cast<Wide*>(out + i * lead + j) = sums[i][0];
      *reinterpret_cast<Wide*>(out + i * lead + j + kLanes) = sums[i][1];
    }
  }
}

VECTORIZED void add_scaled(float* x, float factor, const float* y, int64_t width) {
  for (int64_t d = 0; d < width; ++d) x[d] += factor * y[d];
}

// Candidates lie anywhere in memory: ask for the next while one is scored.
void prefetch(const uint16_t* candidates, int64_t id, int64_t width) {
  if (id < 0) return;
  const char* row = reinterpret_cast<const char*>(candidates + id * width);
  for (int64_t byte = 0; byte < 2 * width; byte += 64) __builtin_prefetch(row + byte);
}

struct Candidate {
  double cosine;
  int64_t id;
};

// Best first, equal ones by id; cosines are told apart as float32, the precision that is kept.
bool better(const Candidate& a, const Candidate& b) {
  const float x = static_cast<float>(a.cosine), y = static_cast<float>(b.cosine);
  return x > y || (x == y && a.id < b.id);
}

}  // namespace

extern "C" {

// One more with every change of a structure or a function below; its Python side asks for it.
int32_t tongues_interface() { return 2; }

// 2: AVX-512 with VNNI, 1: AVX2, 0: neither.
int64_t tongues_search_level() { return detect(); }

// Squares of the lengths of float16 vectors, exactly.
void tongues_search_squares(int64_t level, const uint16_t* x, int64_t count, int64_t width,
                            double* squares) {
  const Dot dot = dot_of(static_cast<int>(level));
  for (int64_t i = 0; i < count; ++i) squares[i] = dot(x + i * width, x + i * width, width);
}

// Vectors of float16 divided by their lengths, in float32.
void tongues_search_units(int64_t level, const uint16_t* x, int64_t count, int64_t width,
                          const double* norm, float* out) {
  const Widen widen = widen_of(static_cast<int>(level));
  for (int64_t i = 0; i < count; ++i) {
    float* row = out + i * width;
    widen(x + i * width, width, row);
    const float inverse = static_cast<float>(1.0 / norm[i]);
    for (int64_t d = 0; d < width; ++d) row[d] *= inverse;
  }
}

// out = x basis, [count, lead]; the basis in panels of [width, 32].
void tongues_search_project(const float* x, int64_t count, int64_t width, const float* basis,
                            int64_t lead, float* out) {
  for (int64_t i = 0; i < count; i += kProjected)
    project(x + i * width, width, static_cast<int>(std::min<int64_t>(kProjected, count - i)), basis,
            lead, out + i * lead);
}

// Gram and Schmidt, each row twice; a row that the ones before it span becomes zeros.
void tongues_search_orthonormalize(float* rows, int64_t count, int64_t width) {
  for (int64_t i = 0; i < count; ++i) {
    float* own = rows + i * width;
    const float before = std::sqrt(inner(own, own, width));
    for (int turn = 0; turn < 2; ++turn)
      for (int64_t j = 0; j < i; ++j)
        add_scaled(own, -inner(own, rows + j * width, width), rows + j * width, width);
    const float after = std::sqrt(inner(own, own, width));
    const float factor = after > kSpanned * before ? 1.0f / after : 0.0f;
    for (int64_t d = 0; d < width; ++d) own[d] *= factor;
  }
}

// Center, divide by length and quantize vectors to [-limit, limit]; depth: padded to 4.
//
// With a lead, coordinates in the basis are quantized instead, all but the last of `lead`, which is
// the length of what they leave, and `rounding` of the whole besides. Then a product is at least
// the product of the vectors, whatever their rests.
// scale, offset (inner product with the other side's mean), error and length: [count].
void tongues_search_quantize(int64_t level, const uint16_t* x, int64_t count, int64_t width,
                             int64_t depth, int64_t limit, const double* norm, const float* mean,
                             const float* other_mean, int64_t lead, const float* basis,
                             double rounding, int8_t* codes, float* scale, float* offset,
                             float* error, float* length) {
  const Widen widen = widen_of(static_cast<int>(level));
  std::vector<float> wide(static_cast<size_t>(width * kProjected));
  std::vector<float> led(static_cast<size_t>(lead * kProjected));
  for (int64_t first = 0; first < count; first += kProjected) {
    const int block = static_cast<int>(std::min<int64_t>(kProjected, count - first));
    for (int64_t i = 0; i < block; ++i) {
      float* row = wide.data() + i * width;
      widen(x + (first + i) * width, width, row);
      const float inverse = static_cast<float>(1.0 / norm[first + i]);
      offset[first + i] = inverse * inner(row, other_mean, width);
      for (int64_t d = 0; d < width; ++d) row[d] = row[d] * inverse - mean[d];
    }
    if (lead) project(wide.data(), width, block, basis, lead, led.data());
    for (int64_t i = 0; i < block; ++i) {
      const float* row = wide.data() + i * width;
      if (lead) {
        float* own = led.data() + i * lead;
        const double all = inner(row, row, width), kept = inner(own, own, lead - 1);
        own[lead - 1] = static_cast<float>(std::sqrt(std::max(0.0, all - kept) + rounding * all));
        row = own;
      }
      const int64_t used = lead ? lead : width;
      int8_t* to = codes + (first + i) * depth;
      std::fill(to + used, to + depth, 0);
      const Quantized q = quantize(row, used, static_cast<int>(limit), to);
      scale[first + i] = q.scale;
      error[first + i] = q.error;
      length[first + i] = q.length;
    }
  }
}

// Columns in panels of 32, four bytes of each in turn, shifted by `limit` to unsigned.
void tongues_search_pack(const int8_t* codes, int64_t count, int64_t depth, int64_t limit,
                         uint8_t* packed) {
  const int64_t panels = (count + kColumns - 1) / kColumns;
  for (int64_t p = 0; p < panels; ++p)
    for (int64_t j = 0; j < kColumns; ++j) {
      const int64_t column = p * kColumns + j;
      uint8_t* to = packed + p * kColumns * depth + j * kDepth;
      for (int64_t d = 0; d < depth; d += kDepth)
        for (int64_t b = 0; b < kDepth; ++b)
          to[d * kColumns + b] =
              column < count ? static_cast<uint8_t>(codes[column * depth + d + b] + limit) : 0;
    }
}

// Offer every column to every row and every row to every column; `both` 0 leaves columns alone.
void tongues_search_multiply(int64_t level, const Side* row_side, const Side* column_side,
                             int64_t depth, int64_t limit, int64_t kept, int64_t both) {
  const Side &rows = *row_side, &columns = *column_side;
  const Tile tile = tile_of(static_cast<int>(level));
  const uint8_t* packed = reinterpret_cast<const uint8_t*>(columns.codes);
  std::vector<int32_t> shift(static_cast<size_t>(rows.count));
  for (int64_t i = 0; i < rows.count; ++i) {
    int32_t sum = 0;
    for (int64_t d = 0; d < depth; ++d) sum += rows.codes[i * depth + d];
    shift[static_cast<size_t>(i)] = sum * static_cast<int32_t>(limit);
  }
  const int64_t padded = (columns.count + kColumns - 1) / kColumns * kColumns;
  std::vector<float> floors(static_cast<size_t>(padded), std::numeric_limits<float>::infinity());
  if (both)
    for (int64_t j = 0; j < columns.count; ++j) floors[static_cast<size_t>(j)] = columns.scores[j * kept];
  int32_t products[kRows * kColumns];
  float values[kColumns];
  for (int64_t group = 0; group < padded; group += kPanels * kColumns) {
    const int64_t group_end = std::min(group + kPanels * kColumns, padded);
    for (int64_t i = 0; i < rows.count; i += kRows) {
      const int count = static_cast<int>(std::min<int64_t>(kRows, rows.count - i));
      for (int64_t j = group; j < group_end; j += kColumns) {
        tile(rows.codes + i * depth, depth, count, packed + j * depth, products);
        for (int r = 0; r < count; ++r) {
          const int64_t row = i + r;
          float* row_scores = rows.scores + row * kept;
          // Columns beyond the last one are -inf and above nothing.
          uint32_t above = cosines(products + r * kColumns, shift[static_cast<size_t>(row)],
                                   rows.scale[row], rows.offset[row], row_scores[0],
                                   columns.scale + j, columns.offset + j, floors.data() + j, values);
          for (; above; above &= above - 1) {
            const int64_t c = __builtin_ctz(above);
            if (values[c] > row_scores[0])
              replace_lowest(row_scores, rows.ids + row * kept, kept, values[c],
                             static_cast<int32_t>(columns.first + j + c));
            float& floor = floors[static_cast<size_t>(j + c)];
            if (values[c] > floor) {
              float* scores = columns.scores + (j + c) * kept;
              replace_lowest(scores, columns.ids + (j + c) * kept, kept, values[c],
                             static_cast<int32_t>(rows.first + row));
              floor = scores[0];
            }
          }
        }
      }
    }
  }
}

// Score the survivors of each row in full precision and keep its `neighbors` best.
//
// slack: how far a row's approximate cosines may be off, [count]. is_exact[i] is 0 where a
// candidate that was not kept might be among the best.
void tongues_search_rescore(int64_t level, const uint16_t* rows, const double* row_norm,
                            int64_t count, int64_t width, const uint16_t* candidates,
                            const double* candidate_norm, const float* scores, const int32_t* ids,
                            int64_t kept, const float* slack, int64_t neighbors, int64_t* out_ids,
                            float* out_cosines, uint8_t* is_exact) {
  const Dot dot = dot_of(static_cast<int>(level));
  std::vector<int64_t> order(static_cast<size_t>(kept));
  std::vector<Candidate> best;
  for (int64_t i = 0; i < count; ++i) {
    const float* own = scores + i * kept;
    for (int64_t c = 0; c < kept; ++c) order[static_cast<size_t>(c)] = c;
    std::sort(order.begin(), order.end(), [own](int64_t a, int64_t b) { return own[a] > own[b]; });
    best.clear();
    bool is_settled = false;
    for (size_t n = 0; n < order.size(); ++n) {
      const int64_t c = order[n], id = ids[i * kept + c];
      if (n + 1 < order.size()) prefetch(candidates, ids[i * kept + order[n + 1]], width);
      // Where the list is not full, everything there is has been kept.
      is_settled = id < 0 || (static_cast<int64_t>(best.size()) == neighbors &&
                              own[c] + slack[i] < static_cast<float>(best.back().cosine));
      if (is_settled) break;
      const double norm = row_norm[i] * candidate_norm[id];
      const Candidate next{dot(rows + i * width, candidates + id * width, width) / norm, id};
      if (static_cast<int64_t>(best.size()) == neighbors) {
        if (!better(next, best.back())) continue;
        best.pop_back();
      }
      best.insert(std::upper_bound(best.begin(), best.end(), next, better), next);
    }
    is_settled = is_settled || (static_cast<int64_t>(best.size()) == neighbors &&
                                own[order.back()] + slack[i] < static_cast<float>(best.back().cosine));
    is_exact[i] = is_settled;
    for (size_t n = 0; n < best.size(); ++n) {
      out_ids[i * neighbors + static_cast<int64_t>(n)] = best[n].id;
      out_cosines[i * neighbors + static_cast<int64_t>(n)] = static_cast<float>(best[n].cosine);
    }
  }
}

// Exact cosines of one row and all candidates.
void tongues_search_cosines(int64_t level, const uint16_t* row, double row_norm, int64_t width,
                            const uint16_t* candidates, const double* norm, int64_t count,
                            float* out) {
  const Dot dot = dot_of(static_cast<int>(level));
  for (int64_t j = 0; j < count; ++j)
    out[j] = static_cast<float>(dot(row, candidates + j * width, width) / (row_norm * norm[j]));
}

}
