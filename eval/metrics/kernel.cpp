// Matched n-grams of hypotheses and their reference, counted as sacrebleu counts them.
//
// Each segment's reference becomes a trie of its n-grams with their numbers; then every hypothesis
// of that segment walks it. A walk from one position ends with the first n-gram that the reference
// does not have, since no longer one can be there either. Keys are compared whole (node and
// symbol), so there are no collisions and the integers are exact.
//
// What is a space comes from Python. Nothing here is shared: calls from several threads are safe.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int kCharacters = 6, kWords = 2, kTokens = 4;  // orders of chrF, chrF++ and BLEU
constexpr uint64_t kEmpty = ~0ull;
constexpr uint32_t kNone = ~0u;  // no such node, or a word that the reference lacks
constexpr uint64_t kMix = 0x9E3779B97F4A7C15ull;

struct Spaces {
  const uint8_t* flags;  // [limit], whether the code point is a space
  int64_t limit;
  bool has(uint32_t c) const { return c < limit && flags[c]; }
};

// A trie over 32-bit symbols in one hash table; node 0 is the root.
class Trie {
 public:
  void clear(size_t ngrams) {
    size_t size = 64;
    shift_ = 58;
    while (size < 2 * ngrams) size *= 2, --shift_;
    mask_ = size - 1;
    if (keys_.size() < size) keys_.resize(size), nodes_.resize(size);
    std::fill_n(keys_.begin(), size, kEmpty);
    counts_.assign(1, 0);
  }

  void add(const uint32_t* symbols, size_t size, int order) {
    for (size_t i = 0; i < size; ++i) {
      uint32_t node = 0;
      const size_t longest = std::min<size_t>(order, size - i);
      for (size_t n = 0; n < longest; ++n) ++counts_[node = find_or_add(node, symbols[i + n])];
    }
  }

  // matches[n - 1]: n-grams that both have, each at most as often as the reference has it.
  void match(const uint32_t* symbols, size_t size, int order, int32_t* matches) {
    left_.assign(counts_.begin(), counts_.end());
    std::fill_n(matches, order, 0);
    for (size_t i = 0; i < size; ++i) {
      uint32_t node = 0;
      const size_t longest = std::min<size_t>(order, size - i);
      for (size_t n = 0; n < longest; ++n) {
        node = find(node, symbols[i + n]);
        if (node == kNone) break;
        const uint32_t more = left_[node] != 0;
        left_[node] -= more;
        matches[n] += static_cast<int32_t>(more);
      }
    }
  }

 private:
  size_t slot_of(uint64_t key) const { return key * kMix >> shift_; }

  uint32_t find(uint32_t node, uint32_t symbol) const {
    const uint64_t key = static_cast<uint64_t>(node) << 32 | symbol;
    for (size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      if (keys_[slot] == key) return nodes_[slot];
      if (keys_[slot] == kEmpty) return kNone;
    }
  }

  uint32_t find_or_add(uint32_t node, uint32_t symbol) {
    const uint64_t key = static_cast<uint64_t>(node) << 32 | symbol;
    for (size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      if (keys_[slot] == key) return nodes_[slot];
      if (keys_[slot] != kEmpty) continue;
      keys_[slot] = key;
      nodes_[slot] = static_cast<uint32_t>(counts_.size());
      counts_.push_back(0);
      return nodes_[slot];
    }
  }

  int shift_ = 58;
  size_t mask_ = 63;
  std::vector<uint64_t> keys_;
  std::vector<uint32_t> nodes_, counts_, left_;
};

struct Range {
  uint32_t from, to;
};

struct Line {
  std::vector<uint32_t> characters;  // without spaces
  std::vector<Range> words;          // in `characters`
  std::vector<uint32_t> ids;         // of the words, as the reference numbers them
};

// UTF-8 that Python has written, so it is valid.
void read_line(const Spaces& spaces, const uint8_t* p, const uint8_t* end, Line& line) {
  line.characters.resize(static_cast<size_t>(end - p));
  line.words.clear();
  uint32_t* const begin = line.characters.data();
  uint32_t* to = begin;
  uint32_t start = 0;
  const auto close = [&] {
    const uint32_t here = static_cast<uint32_t>(to - begin);
    if (here > start) line.words.push_back({start, here});
    start = here;
  };
  while (p < end) {
    uint32_t c = *p++;
    if (c >= 0x80) {
      int more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
      c &= 0x3Fu >> more;
      for (; more && p < end; --more) c = c << 6 | (*p++ & 0x3Fu);
    }
    if (spaces.has(c))
      close();
    else
      *to++ = c;
  }
  close();
  line.characters.resize(static_cast<size_t>(to - begin));
}

bool is_punctuation(uint32_t c) {  // Python's string.punctuation
  return (c > 0x20 && c < 0x30) || (c > 0x39 && c < 0x41) || (c > 0x5A && c < 0x61) ||
         (c > 0x7A && c < 0x7F);
}

// chrF++'s words: one punctuation mark goes off the end, or else off the front.
void split_punctuation(Line& line, std::vector<Range>& spare) {
  spare.clear();
  for (const Range word : line.words) {
    if (word.to - word.from == 1) {
      spare.push_back(word);
    } else if (is_punctuation(line.characters[word.to - 1])) {
      spare.push_back({word.from, word.to - 1});
      spare.push_back({word.to - 1, word.to});
    } else if (is_punctuation(line.characters[word.from])) {
      spare.push_back({word.from, word.from + 1});
      spare.push_back({word.from + 1, word.to});
    } else {
      spare.push_back(word);
    }
  }
  line.words.swap(spare);
}

// The reference's words by number; equal words have equal numbers.
class Words {
 public:
  void number(Line& reference) {
    reference_ = &reference;
    size_t size = 64;
    while (size < 2 * reference.words.size()) size *= 2;
    slots_.assign(size, kNone);
    reference.ids.clear();
    for (size_t i = 0; i < reference.words.size(); ++i) {
      const size_t slot = slot_of(reference, reference.words[i]);
      if (slots_[slot] == kNone) slots_[slot] = static_cast<uint32_t>(i);
      reference.ids.push_back(slots_[slot]);
    }
  }

  void look_up(Line& line) const {
    line.ids.clear();
    for (const Range word : line.words) line.ids.push_back(slots_[slot_of(line, word)]);
  }

 private:
  size_t slot_of(const Line& line, Range word) const {
    const uint32_t* characters = line.characters.data() + word.from;
    const size_t size = word.to - word.from;
    uint64_t hash = size;
    for (size_t i = 0; i < size; ++i) hash = (hash ^ characters[i]) * kMix;
    for (size_t slot = hash >> 32 & (slots_.size() - 1);;
         slot = (slot + 1) & (slots_.size() - 1)) {
      if (slots_[slot] == kNone) return slot;
      const Range other = reference_->words[slots_[slot]];
      if (other.to - other.from == size &&
          std::equal(characters, characters + size, reference_->characters.data() + other.from))
        return slot;
    }
  }

  const Line* reference_ = nullptr;
  std::vector<uint32_t> slots_;
};

}  // namespace

extern "C" {

// One more with every change of a structure or a function below; its Python side asks for it.
int32_t tongues_interface() { return 1; }

// Line i of a text is [offsets[i], offsets[i + 1]). `texts` and `text_offsets` hold one text per
// system, each with as many lines as the reference.

// out[system][line]: characters, matched 1- to 6-grams, words, matched 1- and 2-grams.
// reference_out[line]: characters, words.
void tongues_chrf(const uint8_t* space_flags, int64_t space_limit, const uint8_t* reference,
                  const int64_t* reference_offsets, int64_t lines, int64_t systems,
                  const uint8_t* const* texts, const int64_t* const* text_offsets, int32_t* out,
                  int32_t* reference_out) {
  constexpr int64_t kColumns = 2 + kCharacters + kWords;
  const Spaces spaces{space_flags, space_limit};
  Line own, line;
  std::vector<Range> spare;
  Words words;
  Trie characters, pairs;
  for (int64_t i = 0; i < lines; ++i) {
    read_line(spaces, reference + reference_offsets[i], reference + reference_offsets[i + 1], own);
    split_punctuation(own, spare);
    words.number(own);
    characters.clear(kCharacters * own.characters.size());
    characters.add(own.characters.data(), own.characters.size(), kCharacters);
    pairs.clear(kWords * own.ids.size());
    pairs.add(own.ids.data(), own.ids.size(), kWords);
    reference_out[2 * i] = static_cast<int32_t>(own.characters.size());
    reference_out[2 * i + 1] = static_cast<int32_t>(own.ids.size());
    for (int64_t s = 0; s < systems; ++s) {
      int32_t* row = out + (s * lines + i) * kColumns;
      const int64_t* at = text_offsets[s] + i;
      read_line(spaces, texts[s] + at[0], texts[s] + at[1], line);
      split_punctuation(line, spare);
      words.look_up(line);
      row[0] = static_cast<int32_t>(line.characters.size());
      characters.match(line.characters.data(), line.characters.size(), kCharacters, row + 1);
      row[1 + kCharacters] = static_cast<int32_t>(line.ids.size());
      pairs.match(line.ids.data(), line.ids.size(), kWords, row + 2 + kCharacters);
    }
  }
}

// BLEU over tokens between spaces. out[system][line]: tokens, matched 1- to 4-grams;
// reference_out[line]: tokens.
void tongues_bleu(const uint8_t* space_flags, int64_t space_limit, const uint8_t* reference,
                  const int64_t* reference_offsets, int64_t lines, int64_t systems,
                  const uint8_t* const* texts, const int64_t* const* text_offsets, int32_t* out,
                  int32_t* reference_out) {
  const Spaces spaces{space_flags, space_limit};
  Line own, line;
  Words words;
  Trie tokens;
  for (int64_t i = 0; i < lines; ++i) {
    read_line(spaces, reference + reference_offsets[i], reference + reference_offsets[i + 1], own);
    words.number(own);
    tokens.clear(kTokens * own.ids.size());
    tokens.add(own.ids.data(), own.ids.size(), kTokens);
    reference_out[i] = static_cast<int32_t>(own.ids.size());
    for (int64_t s = 0; s < systems; ++s) {
      int32_t* row = out + (s * lines + i) * (1 + kTokens);
      const int64_t* at = text_offsets[s] + i;
      read_line(spaces, texts[s] + at[0], texts[s] + at[1], line);
      words.look_up(line);
      row[0] = static_cast<int32_t>(line.ids.size());
      tokens.match(line.ids.data(), line.ids.size(), kTokens, row + 1);
    }
  }
}

// The same over numbered tokens.
void tongues_bleu_ids(const uint32_t* reference, const int64_t* reference_offsets, int64_t lines,
                      int64_t systems, const uint32_t* const* ids,
                      const int64_t* const* id_offsets, int32_t* out) {
  Trie tokens;
  for (int64_t i = 0; i < lines; ++i) {
    const int64_t first = reference_offsets[i];
    const size_t own = static_cast<size_t>(reference_offsets[i + 1] - first);
    tokens.clear(kTokens * own);
    tokens.add(reference + first, own, kTokens);
    for (int64_t s = 0; s < systems; ++s) {
      int32_t* row = out + (s * lines + i) * (1 + kTokens);
      const int64_t* at = id_offsets[s] + i;
      const size_t size = static_cast<size_t>(at[1] - at[0]);
      row[0] = static_cast<int32_t>(size);
      tokens.match(ids[s] + at[0], size, kTokens, row + 1);
    }
  }
}

}
