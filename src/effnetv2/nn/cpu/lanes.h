// As many numbers as the processor takes at once, float32 in registers, float32 or bfloat16 in
// memory. Tensors are channels_last, hence rows of channels, which the lanes go along.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

#ifdef __AVX512F__
constexpr int64_t kLanes = 16;
#elif defined(__AVX__)
constexpr int64_t kLanes = 8;
#else
constexpr int64_t kLanes = 4;
#endif
typedef float floats __attribute__((vector_size(4 * kLanes)));
typedef uint32_t words __attribute__((vector_size(4 * kLanes)));
typedef uint16_t halves __attribute__((vector_size(2 * kLanes)));

struct bfloat16 {
  uint16_t bits;
};

inline floats wide(floats x) { return x; }
inline floats wide(halves x) { return (floats)(__builtin_convertvector(x, words) << 16); }

template <typename T>
struct Storage;

template <>
struct Storage<float> {
  typedef floats lanes;
  static floats narrow(floats x) { return x; }
};

template <>
struct Storage<bfloat16> {
  typedef halves lanes;
  static halves narrow(floats x) {  // to nearest, ties to even
#ifdef __AVX512BF16__
    return (halves)_mm512_cvtneps_pbh((__m512)x);
#else
    words bits = (words)x;
    return __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, halves);
#endif
  }
};

// The lanes from `p` on, of which the last may be missing: those are zero, and not written.
template <typename T>
inline floats load(const T* p, int64_t count) {
  typename Storage<T>::lanes x = {};
  std::memcpy(&x, p, count < kLanes ? count * sizeof(T) : sizeof(x));
  return wide(x);
}

template <typename T>
inline void store(T* p, floats x, int64_t count) {
  typename Storage<T>::lanes y = Storage<T>::narrow(x);
  std::memcpy(p, &y, count < kLanes ? count * sizeof(T) : sizeof(y));
}

// Calls work(first, count) for all lanes of a row.
template <typename F>
inline void across(int64_t c, F work) {
  int64_t j = 0;
  for (; j + kLanes <= c; j += kLanes) work(j, kLanes);
  if (j < c) work(j, c - j);
}

}  // namespace
