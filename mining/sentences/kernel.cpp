// One pass over the lines of documents: find those that need Python, tell boilerplate from prose,
// split into sentences, put these into their written form, and count what the filters ask for. See
// docs/decisions/0121.
//
// Nothing here knows Unicode: mining/sentences/kernel.py says what each character is when it is met
// first, with the functions of the slower path. A line where that is not enough (what looks like a
// wrong decoding, an entity, a link or a notice, or is not in NFC) is handed back to it.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace {

enum Flag : uint32_t {
  kKnown = 1u << 0,
  kBlank = 1u << 1,           // parts words (str.isspace)
  kSpace = 1u << 2,           // becomes a plain space (corpus.text.SPACES)
  kWhite = 1u << 3,           // `\s` of the patterns of corpus/split.py
  kLetter = 1u << 4,
  kWord = 1u << 5,
  kStop = 1u << 6,            // ends a line of prose
  kSeparator = 1u << 7,       // parts menu entries
  kSpacedSeparator = 1u << 8, // parts them between spaces
  kAlways = 1u << 9,          // always ends a sentence
  kCloser = 1u << 10,
  kGoesOn = 1u << 11,         // no sentence begins with it
  kTokenBreak = 1u << 12,
  kQuoteEnd = 1u << 13,
  kQuoting = 1u << 14,        // goes on after a quotation
  kDigit = 1u << 15,          // str.isdigit
  kUpper = 1u << 16,
  kMark = 1u << 17,
  kSingle = 1u << 18,         // an initial by itself
  kArmenian = 1u << 19,
  kGreek = 1u << 20,
  kCountedLetter = 1u << 21,  // the three kinds of mining/sentences/filters.py
  kCountedDigit = 1u << 22,
  kCountedSpace = 1u << 23,
  kSlow = 1u << 24,           // a line with it is handed back
  kNotComposed = 1u << 25,    // changes in NFC
  kMaybe = 1u << 26,          // may compose with what is before it
  kDecomposes = 1u << 27,
  kCompatible = 1u << 28,     // changes in NFKC, to characters that stay apart from others
  kKeySlow = 1u << 29,        // changes in NFKC otherwise
  kReplacement = 1u << 30,    // U+FFFD
  kSign = 1u << 31,           // something here looks at it: . ! ? : ; & @ ( / w and others
};

constexpr int64_t kLongestLine = 1 << 20;
constexpr int64_t kLongestToken = 64;
constexpr int64_t kLongestOrdinal = 2;
constexpr int kMostSeparators = 2, kLeastWords = 3, kLeastUnspaced = 10;
constexpr int kLeastRepeated = 8;
constexpr int64_t kLongestEntity = 9;  // characters between & and ;
constexpr int64_t kLongestNotice = 200;  // characters
constexpr uint32_t kCopyright = 0xA9;
constexpr uint32_t kShad = 0x0F0D, kOtherShad = 0x0F0E, kGreekMark = 0x37E, kNoBreak = 0xA0;
constexpr uint32_t kEthiopicSpace = 0x1361;
constexpr int kPageBits = 8, kPage = 1 << kPageBits, kPages = 0x110000 >> kPageBits;
constexpr uint8_t kNever = 0, kPerhaps = 1;  // whether a match begins with two classes

struct Facts {
  uint32_t flags;
  uint32_t fold;   // case-folded; 0 where that is several characters
  uint32_t key;    // what it is in a sentence's key: place in the pool << 8 | bytes
  uint8_t bad;     // class of the pattern of wrong decodings
  uint8_t order;   // canonical combining class
  uint8_t script;  // number, 0 for none
  uint8_t unused;
};
const Facts kNothing[kPage] = {};

enum Count { kLines, kSentences, kNoLetters, kNavigation, kNotice, kFragment, kTooShort, kTooLong, kDamaged,
             kCounts };
enum Reason : uint8_t { kKept, kFormShort, kFormLong, kManyDigits, kFewLetters, kWrongScript,
                        kRepetition, kFewWords, kLongWord };

struct Limits {
  int64_t least, most, words, word, run;
  double letters, digits, word_share, script;
  uint64_t scripts;
  int64_t has_words;
};

using Text = std::u32string;

// BLAKE2b with 8 bytes of digest and no key (RFC 7693).
class Blake {
 public:
  static uint64_t digest(const uint8_t* data, size_t size) {
    uint64_t h[8];
    std::memcpy(h, kStart, sizeof h);
    h[0] ^= 0x01010000ull ^ 8;
    size_t done = 0;
    while (size - done > 128) {
      uint64_t m[16];
      std::memcpy(m, data + done, 128);
      done += 128;
      compress(h, m, done, false);
    }
    uint64_t m[16] = {};
    std::memcpy(m, data + done, size - done);
    compress(h, m, size, true);
    return h[0];
  }

 private:
  static constexpr uint64_t kStart[8] = {
      0x6a09e667f3bcc908ull, 0xbb67ae8584caa73bull, 0x3c6ef372fe94f82bull, 0xa54ff53a5f1d36f1ull,
      0x510e527fade682d1ull, 0x9b05688c2b3e6c1full, 0x1f83d9abfb41bd6bull, 0x5be0cd19137e2179ull};
  static constexpr uint8_t kOrder[12][16] = {
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
      {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
      {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
      {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
      {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
      {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
      {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
      {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
      {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
      {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
      {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3}};

  static uint64_t turn(uint64_t x, int n) { return (x >> n) | (x << (64 - n)); }

  static void compress(uint64_t* h, const uint64_t* m, uint64_t count, bool last) {
    uint64_t v[16];
    std::memcpy(v, h, 64);
    std::memcpy(v + 8, kStart, 64);
    v[12] ^= count;
    if (last) v[14] = ~v[14];
    auto mix = [&](int a, int b, int c, int d, uint64_t x, uint64_t y) {
      v[a] += v[b] + x;
      v[d] = turn(v[d] ^ v[a], 32);
      v[c] += v[d];
      v[b] = turn(v[b] ^ v[c], 24);
      v[a] += v[b] + y;
      v[d] = turn(v[d] ^ v[a], 16);
      v[c] += v[d];
      v[b] = turn(v[b] ^ v[c], 63);
    };
#if defined(__GNUC__)
#pragma GCC unroll 12
#endif
    for (int round = 0; round < 12; ++round) {
      const uint8_t* const s = kOrder[round];
      mix(0, 4, 8, 12, m[s[0]], m[s[1]]);
      mix(1, 5, 9, 13, m[s[2]], m[s[3]]);
      mix(2, 6, 10, 14, m[s[4]], m[s[5]]);
      mix(3, 7, 11, 15, m[s[6]], m[s[7]]);
      mix(0, 5, 10, 15, m[s[8]], m[s[9]]);
      mix(1, 6, 11, 12, m[s[10]], m[s[11]]);
      mix(2, 7, 8, 13, m[s[12]], m[s[13]]);
      mix(3, 4, 9, 14, m[s[14]], m[s[15]]);
    }
    for (int i = 0; i < 8; ++i) h[i] ^= v[i] ^ v[i + 8];
  }
};

uint32_t decode(const uint8_t*& p) {
  uint32_t c = *p++;
  if (c < 0x80) return c;
  if (c < 0xE0) {
    c = (c & 0x1F) << 6 | (p[0] & 0x3F);
    p += 1;
  } else if (c < 0xF0) {
    c = (c & 0x0F) << 12 | (p[0] & 0x3F) << 6 | (p[1] & 0x3F);
    p += 2;
  } else {
    c = (c & 0x07) << 18 | (p[0] & 0x3F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    p += 3;
  }
  return c;
}

Text decode_all(const uint8_t* data, int64_t size) {
  Text text;
  for (const uint8_t *p = data, *end = data + size; p < end;) text.push_back(decode(p));
  return text;
}

enum Answer { kNo, kYes, kHandBack };

class Cleaner {
 public:
  // What was met and is not known yet; the caller says what it is, and asks again.
  std::vector<uint32_t> unknown;     // characters
  std::vector<uint32_t> unasked;     // triples of classes

  struct Found {
    std::vector<uint8_t> text;
    std::vector<int64_t> ends;
    std::vector<int32_t> document, ordinal, handed_before;

    void resize(size_t sentences, size_t bytes) {
      text.resize(bytes), ends.resize(sentences), document.resize(sentences);
      ordinal.resize(sentences), handed_before.resize(sentences);
    }
  };
  Found sentences;   // that may be kept
  Found unfinished;  // of lines that may change in NFC, as they are
  // Lines that are handed back: document, sentences before it in the document, first byte, end.
  std::vector<int64_t> handed;
  int64_t counts[kCounts] = {};

  Cleaner() {
    for (auto& page : pages_) page = kNothing;
    std::memset(pairs_, kPerhaps, sizeof pairs_);
  }

  void learn(uint32_t character, const Facts& facts, const uint8_t* key, int64_t bytes) {
    const uint32_t number = character >> kPageBits;
    if (pages_[number] == kNothing) {
      own_.emplace_back(new Facts[kPage]());
      pages_[number] = own_.back().get();
    }
    Facts& place = const_cast<Facts*>(pages_[number])[character & (kPage - 1)];
    place = facts;
    place.key = static_cast<uint32_t>(pool_.size() << 8 | bytes);
    place.flags |= kKnown;
    pool_.insert(pool_.end(), key, key + bytes);
  }

  void learn_sequence(uint32_t first, uint32_t second, uint32_t third, uint8_t answer) {
    if (third == ~0u)
      pairs_[first][second] = answer;
    else
      triples_[first << 16 | second << 8 | third] = answer;
  }

  void learn_composition(uint64_t pair) { compositions_.insert(pair); }

  void learn_word(int list, const uint8_t* data, int64_t size) {
    Text word = decode_all(data, size);
    if (list == 0) abbreviations_.insert(word);
    else if (list == 1) ending_.insert(word);
    else starters_.push_back(word), longest_starter_ = std::max(longest_starter_, word.size());
  }

  // Note what is not known; return whether all is.
  bool knows(const uint8_t* data, int64_t size) {
    unknown.clear();
    for (const uint8_t *p = data, *end = data + size; p < end;) {
      const uint32_t c = decode(p);
      if (!(facts(c).flags & kKnown)) {
        unknown.push_back(c);
        learn(c, Facts{}, p, 0);  // noted once
      }
    }
    return unknown.empty();
  }

  void clean(const uint8_t* data, const int64_t* bounds, int64_t documents, int64_t least,
             int64_t most, bool repairs) {
    sentences.resize(0, 0), unfinished.resize(0, 0);
    handed.clear(), unasked.clear();
    std::memset(counts, 0, sizeof counts);
    least_ = least, most_ = most, repairs_ = repairs, bytes_ = data;
    for (int64_t d = 0; d < documents; ++d) {
      document_ = static_cast<int32_t>(d), next_ = 0;
      const uint8_t *p = data + bounds[d], *end = data + bounds[d + 1];
      while (p < end) {
        const void* found = std::memchr(p, '\n', end - p);
        const uint8_t* stop = found ? static_cast<const uint8_t*>(found) : end;
        if (stop > p) clean_line(p, stop);
        p = stop + 1;
      }
    }
  }

  // Why a sentence is not kept in its language.
  Reason form(const uint8_t* data, int64_t size, const Limits& limits) {
    load(data, data + size);
    const int64_t n = count_;
    if (n < limits.least) return kFormShort;
    if (n > limits.most) return kFormLong;
    int64_t spaces = 0, letters = 0, digits = 0, any = 0, own = 0, run = 0, longest_run = 0;
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t flags = flags_[i], script = facts_[i]->script;
      letters += (flags & kCountedLetter) != 0;
      digits += (flags & kCountedDigit) != 0;
      spaces += (flags & kCountedSpace) != 0;
      any += script != 0;
      own += limits.scripts >> script & 1;
      run = i && characters_[i] == characters_[i - 1] ? run + 1 : 1;
      longest_run = std::max(longest_run, run);
    }
    const double visible = static_cast<double>(n - spaces);
    if (static_cast<double>(digits) > limits.digits * visible) return kManyDigits;
    if (static_cast<double>(letters) < limits.letters * visible) return kFewLetters;
    if (static_cast<double>(own) < limits.script * static_cast<double>(any) || !any)
      return kWrongScript;
    if (longest_run >= limits.run) return kRepetition;
    if (!limits.has_words) {
      if (letters < kLeastRepeated) return kKept;
      const double most = static_cast<double>(commonest_letter());
      return most > limits.word_share * static_cast<double>(letters) ? kRepetition : kKept;
    }
    return words_form(limits);
  }

  // The hash of `corpus.text.sentence_key`; false where that needs Python.
  bool key_hash(const uint8_t* data, int64_t size, uint64_t& hash) {
    key_.clear();
    bool pending = false, was_zero = false, was_compatible = false;
    for (const uint8_t *p = data, *end = data + size; p < end;) {
      const Facts& one = facts(decode(p));
      if (one.flags & kKeySlow || (was_compatible && one.flags & kMaybe)) return false;
      was_compatible = one.flags & kCompatible;
      const uint8_t* mapped = pool_.data() + (one.key >> 8);
      for (uint32_t i = 0, bytes = one.key & 0xFF; i < bytes; ++i) {
        const uint8_t byte = mapped[i];
        if (byte == ' ') {
          pending = true, was_zero = false;
        } else if (byte != '0' || !was_zero) {
          if (pending && !key_.empty()) key_.push_back(' ');
          pending = false;
          key_.push_back(byte);
          was_zero = byte == '0';
        }
      }
    }
    hash = Blake::digest(key_.data(), key_.size());
    return true;
  }

 private:
  const Facts* pages_[kPages];
  std::vector<std::unique_ptr<Facts[]>> own_;
  std::vector<uint8_t> pool_, key_;
  uint8_t pairs_[256][256];
  std::unordered_map<uint32_t, uint8_t> triples_;
  std::unordered_set<uint64_t> compositions_;
  std::unordered_set<Text> abbreviations_, ending_;
  std::vector<Text> starters_;
  size_t longest_starter_ = 0;

  // The line or sentence at hand.
  std::vector<uint32_t> characters_, flags_;
  std::vector<uint8_t> bad_;
  std::vector<const Facts*> facts_;
  std::vector<int64_t> bytes_at_;
  int64_t count_ = 0;
  uint32_t met_ = 0, shared_ = 0;  // flags of any character, and of all
  const uint8_t* bytes_ = nullptr;

  int64_t least_ = 0, most_ = 0;
  bool repairs_ = false, is_unfinished_ = false;
  int32_t document_ = 0, next_ = 0;
  std::vector<uint32_t> often_;
  std::vector<std::pair<uint64_t, int64_t>> slots_;

  const Facts& facts(uint32_t c) const { return pages_[c >> kPageBits][c & (kPage - 1)]; }

  void load(const uint8_t* p, const uint8_t* end) {
    const size_t most = static_cast<size_t>(end - p);
    if (characters_.size() < most + 1) {
      characters_.resize(most + 1), flags_.resize(most + 1), bad_.resize(most + 1);
      facts_.resize(most + 1), bytes_at_.resize(most + 1);
    }
    const uint8_t* begin = p;
    uint32_t met = 0, shared = ~0u;
    int64_t n = 0;
    while (p < end) {
      bytes_at_[n] = p - begin;
      const uint32_t c = decode(p);
      const Facts& one = facts(c);
      characters_[n] = c;
      flags_[n] = one.flags;
      bad_[n] = one.bad;
      facts_[n] = &one;
      met |= one.flags;
      shared &= one.flags;
      ++n;
    }
    bytes_at_[n] = p - begin;
    count_ = n, met_ = met, shared_ = shared;
  }

  bool is(int64_t i, uint32_t flag) const { return flags_[i] & flag; }

  void clean_line(const uint8_t* begin, const uint8_t* end) {
    if (end - begin > kLongestLine) {  // in bytes: Python counts characters
      hand_back(begin, end);
      return;
    }
    load(begin, end);
    if (shared_ & kBlank) return;
    bool is_notice = false;
    if (needs_python(is_notice)) {
      hand_back(begin, end);
      return;
    }
    ++counts[kLines];
    if (!(met_ & kLetter)) {
      ++counts[kNoLetters];
      return;
    }
    const bool has_stop = ends_with_stop();
    if (!has_stop) {
      if (has_separators()) {
        ++counts[kNavigation];
        return;
      }
    }
    if (is_notice) {
      ++counts[kNotice];
      return;
    }
    if (!has_stop) {
      if (is_fragment()) {
        ++counts[kFragment];
        return;
      }
    }
    split(begin, end);
  }

  void hand_back(const uint8_t* begin, const uint8_t* end) {
    handed.insert(handed.end(), {document_, next_, begin - bytes_, end - bytes_});
  }

  bool needs_python(bool& is_notice) {
    if (met_ & kSlow) return true;
    if (met_ & kSign && has_signs(is_notice)) return true;
    // Only characters with a class of their own are in the pattern of wrong decodings.
    if (repairs_ && !is_ascii() && may_be_bad()) return true;
    is_unfinished_ = met_ & kNotComposed || (!is_ascii() && may_change_in_nfc());
    return false;
  }

  bool is_ascii() const { return bytes_at_[count_] == count_; }

  bool follows(int64_t i, const char* what) const {
    for (; *what; ++what, ++i)
      if (i >= count_ || characters_[i] != static_cast<uint8_t>(*what)) return false;
    return true;
  }

  // Links, entities, notices and code, where Python decides.
  bool has_signs(bool& is_notice) const {
    for (int64_t i = 0; i < count_; ++i) {
      if (!is(i, kSign)) continue;
      switch (characters_[i]) {
        case kCopyright:
          // At the beginning it says enough; inside, other patterns follow.
          if (count_ > kLongestNotice) return true;
          for (int64_t k = 0; k < i && !is_notice; ++k)
            if (is(k, kWord) || characters_[k] >= 0x80) return true;
          is_notice = true;
          break;
        case '@':
          return true;
        case ':':
          if (follows(i, "://")) return true;
          break;
        case 'w':
          if (follows(i, "www.")) return true;
          break;
        case '(':
          if (follows(i, "(c)") || follows(i, "(C)")) return true;
          break;
        case '&':
          for (int64_t k = i + 1; k < count_ && k <= i + 1 + kLongestEntity; ++k)
            if (characters_[k] == ';') return true;
          break;
        case ';':
          for (int64_t k = i + 1; k < count_; ++k) {
            if (characters_[k] == '$') return true;
            if (!is(k, kWhite)) break;
          }
          break;
      }
    }
    return false;
  }

  // Whether a match of the pattern of wrong decodings may begin anywhere.
  bool may_be_bad() {
    bool found = false;
    for (int64_t i = 0; i < count_; ++i) {
      const uint32_t a = bad_[i], b = i + 1 < count_ ? bad_[i + 1] : 0;
      const uint8_t answer = pairs_[a][b];
      if (answer == kNever) continue;
      if (answer == kPerhaps) {
        const uint32_t c = i + 2 < count_ ? bad_[i + 2] : 0;
        const auto known = triples_.find(a << 16 | b << 8 | c);
        if (known != triples_.end() && !known->second) continue;
        if (known == triples_.end()) {
          triples_[a << 16 | b << 8 | c] = 1;  // asked once
          unasked.insert(unasked.end(), {a, b, c});
        }
      }
      found = true;
    }
    return found;
  }

  // The quick check of UAX 15, section 9, where "maybe" asks whether the pair composes.
  bool may_change_in_nfc() const {
    if (!(met_ & (kMark | kMaybe))) return false;  // what has a combining class is a mark
    int64_t starter = -1;
    uint32_t last = 0;
    for (int64_t i = 0; i < count_; ++i) {
      const Facts& one = *facts_[i];
      if (!one.order) {
        if (one.flags & kMaybe && starter >= 0 && starter == i - 1 && composes(starter, i))
          return true;
        starter = i, last = 0;
        continue;
      }
      if (last > one.order) return true;
      if (one.flags & kMaybe && starter >= 0 && (is(starter, kDecomposes) || composes(starter, i)))
        return true;
      last = one.order;
    }
    return false;
  }

  bool composes(int64_t first, int64_t second) const {
    const uint64_t a = characters_[first], b = characters_[second];
    if (b - 0x1161 < 21 || b - 0x11A8 < 27) return true;  // Hangul: by arithmetic
    return compositions_.count(a << 21 | b);
  }

  bool ends_with_stop() const {
    for (int64_t i = count_ - 1; i >= 0; --i) {
      if (is(i, kStop)) return true;
      if (is(i, kWord)) return false;
    }
    return false;
  }

  bool has_separators() const {
    if (!(met_ & (kSeparator | kSpacedSeparator))) return false;
    int found = 0;
    for (int64_t i = 0; i < count_; ++i)
      found += is(i, kSeparator) || (is(i, kSpacedSeparator) && i && is(i - 1, kBlank) &&
                                     i + 1 < count_ && is(i + 1, kBlank));
    return found >= kMostSeparators;
  }

  bool is_fragment() const {
    int64_t words = 0, first = count_, last = -1;
    for (int64_t i = 0; i < count_; ++i) {
      if (is(i, kBlank)) continue;
      first = std::min(first, i), last = i;
      words += !i || is(i - 1, kBlank);
      if (words >= kLeastWords) return false;
    }
    return last - first + 1 < kLeastUnspaced * words;
  }

  // corpus/split.py
  void split(const uint8_t* begin, const uint8_t* end) {
    Found& found = is_unfinished_ ? unfinished : sentences;
    const size_t before = found.ends.size(), bytes_before = found.text.size();
    int64_t saved[kCounts];
    std::memcpy(saved, counts, sizeof saved);
    const int32_t next = next_;
    int64_t start = 0;
    for (int64_t i = 0; i < count_;) {
      int64_t stop = 0;
      const Answer answer = ends_sentence(start, i, stop);
      if (answer == kHandBack) {
        found.resize(before, bytes_before);
        std::memcpy(counts, saved, sizeof saved);
        --counts[kLines];
        next_ = next;
        hand_back(begin, end);
        return;
      }
      if (answer == kYes) {
        add(begin, start, stop);
        start = stop;
      }
      i = stop ? stop : i + 1;
    }
    if (start < count_) add(begin, start, count_);
  }

  int64_t pass(int64_t i, uint32_t flag) const {
    while (i < count_ && is(i, flag)) ++i;
    return i;
  }

  // Whether a sentence ends at i. `stop` is where a match ends, 0 where there is none.
  Answer ends_sentence(int64_t start, int64_t i, int64_t& stop) {
    const uint32_t c = characters_[i];
    if (is(i, kAlways)) {
      int64_t k = i + 1;
      while (k < count_ && (is(k, kAlways) || is_mark(k) || characters_[k] == '.')) ++k;
      stop = pass(pass(k, kCloser), kWhite);
      return is(stop - 1, kQuoteEnd) && stop < count_ && is(stop, kQuoting) ? kNo : kYes;
    }
    switch (c) {
      case '!':
      case '?': {
        int64_t k = i - 1;
        while (k >= 0 && characters_[k] == '.') --k;
        if (k >= 0 && is_mark(k)) return kNo;
        k = i + 1;
        while (k < count_ && (is_mark(k) || characters_[k] == '.')) ++k;
        k = pass(k, kCloser);
        return goes_on(k, stop) ? kYes : kNo;
      }
      case '.':
        return dot(start, i, stop);
      case kShad: {
        int64_t k = i + 1;
        while (k < count_ && (is(k, kWhite) || characters_[k] == kShad ||
                              characters_[k] == kOtherShad))
          ++k;
        if (k > i + 1) stop = k;
        return stop ? kYes : kNo;
      }
      case ':':
        if (i && is(i - 1, kArmenian)) {
          const int64_t k = pass(i + 1, kWhite);
          if (k > i + 1) stop = k;
        }
        return stop ? kYes : kNo;
      case ';':
      case kGreekMark:
        if (i && is(i - 1, kGreek)) {
          const int64_t closed = pass(i + 1, kCloser), k = pass(closed, kWhite);
          if (k > closed) stop = k;
        }
        return stop ? kYes : kNo;
    }
    return kNo;
  }

  bool is_mark(int64_t i) const { return characters_[i] == '!' || characters_[i] == '?'; }

  // After closing marks: space or the end must follow, and then what may begin a sentence.
  bool goes_on(int64_t k, int64_t& stop) const {
    if (k < count_ && !is(k, kWhite)) return false;
    stop = pass(k, kWhite);
    return stop == count_ || !is(stop, kGoesOn);
  }

  Answer dot(int64_t start, int64_t i, int64_t& stop) {
    if (i && characters_[i - 1] == '.') return kNo;
    // ". . ." with spaces between
    int64_t k = i + 1, turns = 0;
    while (k + 1 < count_ && (characters_[k] == ' ' || characters_[k] == kNoBreak) &&
           characters_[k + 1] == '.')
      k += 2, ++turns;
    if (turns) {
      const int64_t closed = pass(k, kCloser);
      if (closed == count_ || is(closed, kWhite)) return goes_on(closed, stop) ? kYes : kNo;
      // One turn less is followed by its space.
      if (turns > 1) return goes_on(k - 2, stop) ? kYes : kNo;
    }
    k = i;
    while (k < count_ && characters_[k] == '.') ++k;
    k = pass(k, kCloser);
    if (k == count_ || !is(k, kWhite)) return kNo;
    stop = pass(k, kWhite);
    return dot_ends(start, i, stop);
  }

  Answer dot_ends(int64_t start, int64_t dot, int64_t following) {
    if (following < count_ && is(following, kGoesOn)) return kNo;
    int64_t first = dot;
    const int64_t least = std::max(start, dot - kLongestToken);
    while (first > least && !is(first - 1, kTokenBreak)) --first;
    const int64_t length = dot - first;
    bool digits = length > 0;
    Text token;
    for (int64_t k = first; k < dot; ++k) {
      digits = digits && is(k, kDigit);
      if (!facts_[k]->fold) return kHandBack;
      token.push_back(facts_[k]->fold);
    }
    if (digits) return length > kLongestOrdinal ? kYes : kNo;
    if (ending_.count(token)) return kYes;
    if (is_initial(first, dot)) return starts_sentence(following);
    return abbreviations_.count(token) ? kNo : kYes;
  }

  bool is_initial(int64_t first, int64_t end) const {
    if (first == end) return false;
    if (end - first == 1 && is(first, kSingle)) return true;
    if (is(first, kUpper) && pass_marks(first + 1, end) == end) return true;
    int64_t k = first, dots = 0;
    while (k < end && is(k, kLetter)) {
      k = pass_marks(k + 1, end);
      if (k == end) return dots > 0;
      if (characters_[k] != '.') return false;
      ++k, ++dots;
    }
    return false;
  }

  int64_t pass_marks(int64_t i, int64_t end) const {
    while (i < end && is(i, kMark)) ++i;
    return i;
  }

  Answer starts_sentence(int64_t following) {
    Text next;
    for (int64_t k = following; k < count_ && next.size() <= longest_starter_; ++k) {
      const uint32_t c = characters_[k];
      if (!is(k, kWord)) break;
      // What else an "s" or "k" matches without regard to case is for Python to say.
      if (c >= 0x80 && (c < 0x400 || c > 0x45F)) return kHandBack;
      next.push_back(facts_[k]->fold);
    }
    for (const Text& starter : starters_)
      if (next == starter) return kYes;
    return kNo;
  }

  // corpus.text.normalize, and damage_reason as far as no pattern is needed.
  void add(const uint8_t* line, int64_t from, int64_t to) {
    while (from < to && is(from, kSpace)) ++from;
    while (to > from && is(to - 1, kSpace)) --to;
    if (from == to) return;
    ++counts[kSentences];
    const int32_t number = next_++;
    if (is_unfinished_) {
      const uint8_t *begin = line + bytes_at_[from], *end = line + bytes_at_[to];
      unfinished.text.insert(unfinished.text.end(), begin, end);
      note(unfinished, number);
      return;
    }
    std::vector<uint8_t>& text = sentences.text;
    const size_t begin = text.size();
    int64_t length = 0;
    bool damaged = false;
    for (int64_t i = from; i < to;) {
      int64_t k = i;
      while (k < to && !is(k, kSpace)) {
        damaged |= is(k, kReplacement);
        ++k;
      }
      text.insert(text.end(), line + bytes_at_[i], line + bytes_at_[k]);
      length += k - i;
      if (k == to) break;
      text.push_back(' ');
      ++length;
      i = pass(k, kSpace);
    }
    if (length < least_ || length > most_ || damaged) {
      ++counts[length < least_ ? kTooShort : length > most_ ? kTooLong : kDamaged];
      text.resize(begin);
      return;
    }
    note(sentences, number);
  }

  void note(Found& found, int32_t number) {
    found.ends.push_back(static_cast<int64_t>(found.text.size()));
    found.document.push_back(document_);
    found.ordinal.push_back(number);
    found.handed_before.push_back(static_cast<int32_t>(handed.size() / 4));
  }

  int64_t commonest_letter() {
    if (often_.empty()) often_.resize(0x110000);
    uint32_t most = 0;
    for (int64_t i = 0; i < count_; ++i)
      if (is(i, kCountedLetter)) most = std::max(most, ++often_[characters_[i]]);
    for (int64_t i = 0; i < count_; ++i) often_[characters_[i]] = 0;
    return most;
  }

  bool parts_words(int64_t i) const { return is(i, kBlank) || characters_[i] == kEthiopicSpace; }

  Reason words_form(const Limits& limits) {
    slots_.clear();  // hash and first character of each word, its length in the upper bits
    int64_t longest = 0;
    for (int64_t i = 0; i < count_;) {
      if (parts_words(i)) {
        ++i;
        continue;
      }
      int64_t k = i;
      uint64_t hash = 0;
      while (k < count_ && !parts_words(k))
        hash = (hash ^ characters_[k++]) * 0x9E3779B97F4A7C15ull, hash ^= hash >> 29;
      longest = std::max(longest, k - i);
      slots_.emplace_back(hash, k << 32 | i);
      i = k;
    }
    const int64_t words = static_cast<int64_t>(slots_.size());
    if (words < limits.words) return kFewWords;
    if (longest > limits.word) return kLongWord;
    if (words < kLeastRepeated) return kKept;
    std::sort(slots_.begin(), slots_.end());
    int64_t most = 0;
    for (int64_t i = 0; i < words;) {
      int64_t k = i + 1;
      while (k < words && slots_[k].first == slots_[i].first) ++k;
      if (k - i > most) most = std::max(most, commonest_of(i, k));
      i = k;
    }
    return static_cast<double>(most) > limits.word_share * static_cast<double>(words) ? kRepetition
                                                                                       : kKept;
  }

  // Of words with one hash, how many are the same as the one that most are.
  int64_t commonest_of(int64_t begin, int64_t end) const {
    int64_t most = 0;
    for (int64_t i = begin; i < end && end - i > most; ++i) {
      int64_t same = 0;
      for (int64_t k = i; k < end; ++k) same += is_same_word(slots_[i].second, slots_[k].second);
      most = std::max(most, same);
    }
    return most;
  }

  bool is_same_word(int64_t a, int64_t b) const {
    const int64_t first = a & 0xFFFFFFFF, other = b & 0xFFFFFFFF;
    const int64_t length = (a >> 32) - first;
    return length == (b >> 32) - other &&
           std::equal(&characters_[first], &characters_[first] + length, &characters_[other]);
  }
};

void put(uint8_t*& place, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) *place++ = static_cast<uint8_t>(value >> shift);
}

}  // namespace

extern "C" {

int64_t tongues_interface() { return 1; }

void* tongues_cleaner() { return new Cleaner; }

void tongues_learn_characters(void* cleaner, int64_t count, const uint32_t* characters,
                              const uint32_t* numbers, const uint8_t* keys,
                              const int64_t* key_bounds) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t* own = numbers + 5 * i;
    const Facts facts{own[0], own[1], 0, static_cast<uint8_t>(own[2]),
                      static_cast<uint8_t>(own[3]), static_cast<uint8_t>(own[4]), 0};
    static_cast<Cleaner*>(cleaner)->learn(characters[i], facts, keys + key_bounds[i],
                                          key_bounds[i + 1] - key_bounds[i]);
  }
}

void tongues_learn_sequences(void* cleaner, int64_t count, const uint32_t* classes,
                             const uint8_t* answers) {
  for (int64_t i = 0; i < count; ++i)
    static_cast<Cleaner*>(cleaner)->learn_sequence(classes[3 * i], classes[3 * i + 1],
                                                   classes[3 * i + 2], answers[i]);
}

void tongues_learn_compositions(void* cleaner, int64_t count, const uint64_t* pairs) {
  for (int64_t i = 0; i < count; ++i)
    static_cast<Cleaner*>(cleaner)->learn_composition(pairs[i]);
}

void tongues_learn_words(void* cleaner, int64_t list, const uint8_t* data, int64_t size) {
  static_cast<Cleaner*>(cleaner)->learn_word(static_cast<int>(list), data, size);
}

// Return how many characters are not known; they are at `unknown`.
int64_t tongues_unknown(void* cleaner, const uint8_t* data, int64_t size,
                        const uint32_t** unknown) {
  Cleaner& own = *static_cast<Cleaner*>(cleaner);
  own.knows(data, size);
  *unknown = own.unknown.data();
  return static_cast<int64_t>(own.unknown.size());
}

// Clean documents. Lines with sequences of classes that are not known, the first of the results, are
// handed back.
void tongues_clean(void* cleaner, const uint8_t* data, const int64_t* bounds, int64_t documents,
                      int64_t least, int64_t most, int64_t repairs, const void** results,
                      int64_t* sizes) {
  Cleaner& own = *static_cast<Cleaner*>(cleaner);
  own.clean(data, bounds, documents, least, most, repairs != 0);
  auto put = [&](const auto& values) {
    *results++ = values.data();
    *sizes++ = static_cast<int64_t>(values.size());
  };
  put(own.unasked), put(own.handed);
  *results++ = own.counts;
  *sizes++ = kCounts;
  for (const auto* found : {&own.sentences, &own.unfinished})
    put(found->text), put(found->ends), put(found->document), put(found->ordinal),
        put(found->handed_before);
}

// Give sentences a reason why they are not kept in their language, 0 if they are. Sentences whose
// language is -1 are left as they are.
void tongues_form(void* cleaner, int64_t count, const uint8_t* text, const int64_t* bounds,
                  const int32_t* languages, const Limits* limits, uint8_t* reasons) {
  for (int64_t i = 0; i < count; ++i)
    if (languages[i] >= 0)
      reasons[i] = static_cast<Cleaner*>(cleaner)->form(
          text + bounds[i], bounds[i + 1] - bounds[i], limits[languages[i]]);
}

// Write the sort keys of sentences, and whether Python has to write the template's hash.
void tongues_keys(void* cleaner, int64_t count, const int64_t* rows, const uint8_t* text,
                  const int64_t* bounds, const int32_t* languages, const uint8_t* language_keys,
                  int64_t language_bytes, const int32_t* documents, const uint8_t* names,
                  const int64_t* name_bounds, const int64_t* positions, uint8_t* keys,
                  uint8_t* is_slow) {
  std::string place;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = rows[i], document = documents[row];
    const uint8_t* begin = text + bounds[row];
    const int64_t size = bounds[row + 1] - bounds[row];
    uint64_t template_hash = 0;
    is_slow[i] = !static_cast<Cleaner*>(cleaner)->key_hash(begin, size, template_hash);
    place.assign(reinterpret_cast<const char*>(names) + name_bounds[document],
                 static_cast<size_t>(name_bounds[document + 1] - name_bounds[document]));
    place += '\n' + std::to_string(positions[row]);
    std::memcpy(keys, language_keys + languages[row] * language_bytes,
                static_cast<size_t>(language_bytes));
    keys += language_bytes;
    put(keys, template_hash);
    put(keys, Blake::digest(begin, static_cast<size_t>(size)));
    put(keys, Blake::digest(reinterpret_cast<const uint8_t*>(place.data()), place.size()));
  }
}

}  // extern "C"
