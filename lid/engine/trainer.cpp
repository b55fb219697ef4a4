// fastText's supervised training (Joulin et al. 2017, https://arxiv.org/abs/1607.01759) of n-gram
// vectors and a softmax, with the same result for any number of threads.
//
// The examples of a batch see the weights as they were before it, in parallel; then every thread adds
// the gradients of all of them, in order, to the rows and classes that are its own.

#include <atomic>
#include <cmath>
#include <thread>

#include "ngrams.h"
#include "vectors.h"

namespace {

using tongues::Ngrams;
using tongues::NgramSpace;

constexpr float kLeastDelta = 1e-6f;  // a class whose weights would change by less is left alone
constexpr int64_t kBatch = 16;

struct Trainer {
  float* rows;    // [buckets, dim]
  float* output;  // [classes, dim]
  int64_t buckets, dim, classes, min_ngram, max_ngram, threads;
};

struct Example {
  std::vector<uint32_t> points, indices;
  std::vector<std::vector<uint32_t>> owned;  // indices by the thread that updates them
  std::vector<float> hidden, gradient, delta;
};

// No dot product is in an order that depends on the instructions there are.
VECTORIZED void multiply(const float* output, const float* hidden, int64_t classes, int64_t dim,
                         float* logits) {
  for (int64_t c = 0; c < classes; ++c) {
    const float* row = output + c * dim;
    float parts[16] = {0};
    int64_t d = 0;
    for (; d + 16 <= dim; d += 16)
      for (int lane = 0; lane < 16; ++lane) parts[lane] += row[d + lane] * hidden[d + lane];
    for (int half = 8; half; half /= 2)
      for (int lane = 0; lane < half; ++lane) parts[lane] += parts[lane + half];
    float total = parts[0];
    for (; d < dim; ++d) total += row[d] * hidden[d];
    logits[c] = total;
  }
}

VECTORIZED void add_scaled(const float* from, float scale, int64_t dim, float* to) {
  for (int64_t d = 0; d < dim; ++d) to[d] += scale * from[d];
}

VECTORIZED void add_row(const float* from, int64_t dim, float* to) {
  for (int64_t d = 0; d < dim; ++d) to[d] += from[d];
}

VECTORIZED void scale(float by, int64_t dim, float* values) {
  for (int64_t d = 0; d < dim; ++d) values[d] *= by;
}

void decode(const uint8_t* p, const uint8_t* end, std::vector<uint32_t>& points) {
  points.clear();
  while (p < end) {
    uint32_t c = *p++;
    if (c >= 0x80) {
      int more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
      c &= 0x3Fu >> more;
      for (; more && p < end; --more) c = c << 6 | (*p++ & 0x3Fu);
    }
    points.push_back(c);
  }
}

class Barrier {
 public:
  explicit Barrier(int64_t threads) : threads_(threads) {}

  void wait() {
    const int64_t round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins)
      if (spins > 1000) std::this_thread::yield();
  }

 private:
  const int64_t threads_;
  std::atomic<int64_t> arrived_{0}, round_{0};
};

void hash(const Trainer& t, const uint8_t* from, const uint8_t* to, NgramSpace& space, Example& one) {
  decode(from, to, one.points);
  const Ngrams settings{static_cast<uint32_t>(t.buckets), static_cast<uint32_t>(t.min_ngram),
                        static_cast<uint32_t>(t.max_ngram)};
  tongues::hash_ngrams(settings, one.points.data(), one.points.size(), space, one.indices,
                       [](auto, auto) {});
  one.owned.resize(static_cast<size_t>(t.threads));
  for (auto& own : one.owned) own.clear();
  for (uint32_t index : one.indices) {
    const float* row = t.rows + static_cast<int64_t>(index) * t.dim;
    for (int64_t d = 0; d < t.dim; d += 16) __builtin_prefetch(row + d);
    one.owned[index % static_cast<uint32_t>(t.threads)].push_back(index);
  }
}

// hidden = mean of the rows, p = softmax(output · hidden), delta = rate · (label - p),
// gradient = output' · delta / number of rows.
void propagate(const Trainer& t, int32_t label, float rate, Example& one) {
  const float share = 1.0f / static_cast<float>(one.indices.size());
  one.hidden.assign(static_cast<size_t>(t.dim), 0);
  one.gradient.assign(static_cast<size_t>(t.dim), 0);
  one.delta.resize(static_cast<size_t>(t.classes));
  for (uint32_t index : one.indices)
    add_row(t.rows + static_cast<int64_t>(index) * t.dim, t.dim, one.hidden.data());
  scale(share, t.dim, one.hidden.data());
  float* delta = one.delta.data();
  multiply(t.output, one.hidden.data(), t.classes, t.dim, delta);
  const float highest = tongues::highest(delta, t.classes);
  const float whole = tongues::exponentials(delta, t.classes, highest, delta);
  scale(-rate / whole, t.classes, delta);
  delta[label] += rate;
  for (int64_t c = 0; c < t.classes; ++c)
    if (std::abs(delta[c]) > kLeastDelta)
      add_scaled(t.output + c * t.dim, delta[c], t.dim, one.gradient.data());
  scale(share, t.dim, one.gradient.data());
}

void update(const Trainer& t, int64_t thread, const Example& one) {
  for (uint32_t index : one.owned[thread])
    add_row(one.gradient.data(), t.dim, t.rows + static_cast<int64_t>(index) * t.dim);
  const int64_t from = t.classes * thread / t.threads, to = t.classes * (thread + 1) / t.threads;
  for (int64_t c = from; c < to; ++c)
    if (std::abs(one.delta[c]) > kLeastDelta)
      add_scaled(one.hidden.data(), one.delta[c], t.dim, t.output + c * t.dim);
}

}  // namespace

extern "C" {

// Learns from prepared lines [offsets[i], offsets[i + 1]) of `text` with their labels, in order; the
// learning rate falls linearly from `first_rate` to `last_rate`.
void tongues_learn(const Trainer* trainer, const uint8_t* text, const int64_t* offsets,
                   const int32_t* labels, int64_t lines, float first_rate, float last_rate) {
  const Trainer& t = *trainer;
  std::vector<Example> batch(kBatch);
  Barrier barrier(t.threads);
  auto work = [&](int64_t thread) {
    NgramSpace space;
    for (int64_t start = 0; start < lines; start += kBatch) {
      const int64_t size = std::min(kBatch, lines - start);
      for (int64_t i = thread; i < size; i += t.threads)
        hash(t, text + offsets[start + i], text + offsets[start + i + 1], space, batch[i]);
      for (int64_t i = thread; i < size; i += t.threads) {
        if (batch[i].indices.empty()) continue;
        const float done = static_cast<float>(start + i) / static_cast<float>(lines);
        propagate(t, labels[start + i], first_rate + (last_rate - first_rate) * done, batch[i]);
      }
      barrier.wait();
      for (int64_t i = 0; i < size; ++i)
        if (!batch[i].indices.empty()) update(t, thread, batch[i]);
      barrier.wait();
    }
  };
  std::vector<std::thread> others;
  for (int64_t thread = 1; thread < t.threads; ++thread) others.emplace_back(work, thread);
  work(0);
  for (std::thread& other : others) other.join();
}

}
