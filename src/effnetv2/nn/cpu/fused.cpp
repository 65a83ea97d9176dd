// Batch norm, SiLU, squeeze-excite gate and addition of the skip in as few passes over memory as
// their mathematics allows. Called by kernels.py, which documents the formulas.
//
// Results depend on the number of threads and on nothing else: loops over channels are innermost,
// so that no sum is reordered.

#include <omp.h>

#include <vector>

#include "lanes.h"

namespace {

// 1 / (1 + exp(-x)) to some units in the last place. exp(-x) is 2^whole * 2^part with
// |part| <= 1/2, the latter a polynomial of least relative error (2e-7).
inline floats sigmoid(floats x) {
  floats y = x * -1.44269504f;
#ifdef __AVX512F__
  floats whole = (floats)_mm512_roundscale_ps((__m512)y, 0);
#else
  y = y > 126.0f ? y * 0.0f + 126.0f : y;
  y = y < -126.0f ? y * 0.0f - 126.0f : y;  // a number that is none stays none
  const float round = 12582912.0f;  // adding it leaves no room for a fraction
  floats shifted = y + round, whole = shifted - round;
#endif
  floats t = y - whole;
  floats p = 1.00000012f + t * (0.693146884f + t * (0.240219891f + t * (0.0555077009f +
             t * (0.00968132634f + t * 0.00132752315f))));
#ifdef __AVX512F__
  return 1.0f / (1.0f + (floats)_mm512_scalef_ps((__m512)p, (__m512)whole));
#else
  words power = ((words)shifted - 0x4b400000u + 127u) << 23;
  return 1.0f / (1.0f + p * (floats)power);
#endif
}

inline floats silu(floats t) { return t * sigmoid(t); }

inline floats silu_slope(floats t) {
  floats s = sigmoid(t);
  return s * (1.0f + t * (1.0f - s));
}

// A map of n samples, `hw` rows each, `c` numbers a row. Narrow rows cost more to begin than to go
// through, so several pixels count as one row as long as that is short; what is per channel is then
// repeated as often.
struct Map {
  int64_t n, hw, channels, c;

  Map(int64_t n, int64_t pixels, int64_t channels) : n(n), hw(pixels), channels(channels), c(channels) {
    while (c < 256 && hw % 2 == 0) hw /= 2, c *= 2;
  }

  // Writes `v`, one number a channel (or `size` = 1 for all), once for each pixel of a row.
  void repeat(const float* v, int64_t size, float* out) const {
    for (float* to = out; to < out + c; to += size) std::copy(v, v + size, to);
  }

  std::vector<float> repeated(const float* v) const {
    std::vector<float> r(c);
    repeat(v, channels, r.data());
    return r;
  }

  template <typename S>
  void folded(const S* sums, S* out) const {
    std::copy(sums, sums + channels, out);
    for (const S* next = sums + channels; next < sums + c; next += channels)
      for (int64_t j = 0; j < channels; ++j) out[j] += next[j];
  }

  // Calls work(thread, sample, first row, last row) for stretches of one sample's rows, divided
  // evenly among the threads. A thread's stretches come in order.
  template <typename F>
  void divide(int threads, F work) const {
    int64_t rows = n * hw;
#pragma omp parallel num_threads(threads)
    {
      int me = omp_get_thread_num(), all = omp_get_num_threads();
      int64_t row = rows * me / all, last = rows * (me + 1) / all;
      while (row < last) {
        int64_t sample = row / hw, stop = std::min(last, (sample + 1) * hw);
        work(me, sample, row, stop);
        row = stop;
      }
    }
  }
};

// Sums over all rows, `sums` for each of a row's numbers: in float32 over a stretch of rows, which
// add() goes through, in double beyond it.
template <typename F>
std::vector<double> sum(const Map& map, int sums, int threads, F add) {
  constexpr int64_t kStretch = 512;
  int64_t size = sums * map.c;
  std::vector<double> partial(size_t(threads * size), 0.0), total(sums * map.channels);
  std::vector<float> scratch(size_t(threads * size));
  map.divide(threads, [&](int me, int64_t sample, int64_t first, int64_t last) {
    float* stretch = scratch.data() + me * size;
    for (int64_t row = first; row < last; row += kStretch) {
      std::fill(stretch, stretch + size, 0.0f);
      add(sample, row, std::min(row + kStretch, last), stretch);
      for (int64_t i = 0; i < size; ++i) partial[me * size + i] += stretch[i];
    }
  });
  for (int t = 1; t < threads; ++t)
    for (int64_t i = 0; i < size; ++i) partial[i] += partial[t * size + i];
  for (int s = 0; s < sums; ++s)
    map.folded(partial.data() + s * map.c, total.data() + s * map.channels);
  return total;
}

template <typename T>
void moments(const Map& map, const T* y, float* mean, float* var, int threads) {
  // Around the first pixel's values: no cancellation where the mean dwarfs the deviation.
  int64_t c = map.c;
  std::vector<float> origin(map.channels);
  across(map.channels, [&](int64_t j, int64_t k) { store(&origin[j], load(y + j, k), k); });
  std::vector<float> repeated = map.repeated(origin.data());
  const float* o = repeated.data();
  auto sums = sum(map, 2, threads, [=](int64_t, int64_t first, int64_t last, float* s) {
    float *s1 = s, *s2 = s + c;
    for (int64_t i = first; i < last; ++i) {
      const T* row = y + i * c;
      across(c, [=](int64_t j, int64_t k) {
        floats d = load(row + j, k) - load(o + j, k);
        store(s1 + j, load(s1 + j, k) + d, k);
        store(s2 + j, load(s2 + j, k) + d * d, k);
      });
    }
  });
  double pixels = double(map.n) * map.hw * (map.c / map.channels);
  for (int64_t j = 0; j < map.channels; ++j) {
    double m = sums[j] / pixels;
    mean[j] = float(origin[j] + m);
    var[j] = float(std::max(0.0, sums[map.channels + j] / pixels - m * m));
  }
}

// out = act(y * a + b) * gate + skip; `gate` is (n, gate_c) with gate_c the channels or 1, or null.
template <typename T, bool act>
void apply(const Map& map, const T* y, const float* a, const float* b, const float* gate,
           int64_t gate_c, const T* skip, T* out, int threads) {
  int64_t c = map.c;
  auto as = map.repeated(a), bs = map.repeated(b);
  map.divide(threads, [&](int, int64_t sample, int64_t first, int64_t last) {
    std::vector<float> gs(c, 1.0f);
    if (gate) map.repeat(gate + sample * gate_c, gate_c, gs.data());
    const float *a = as.data(), *b = bs.data(), *g = gs.data();
    for (int64_t i = first; i < last; ++i) {
      const T* row = y + i * c;
      T* to = out + i * c;
      const T* r = skip ? skip + i * c : nullptr;
      across(c, [=](int64_t j, int64_t k) {
        floats t = load(row + j, k) * load(a + j, k) + load(b + j, k);
        t = (act ? silu(t) : t) * load(g + j, k);
        store(to + j, r ? t + load(r + j, k) : t, k);
      });
    }
  });
}

// The sum over a sample's pixels of silu(y * a + b), or (with `dout`) of its product with dout,
// times `scale`: (n, channels).
template <typename T>
void pool(const Map& map, const T* y, const T* dout, const float* a, const float* b, float scale,
          float* out, int threads) {
  int64_t c = map.c;
  auto as = map.repeated(a), bs = map.repeated(b);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t n = 0; n < map.n; ++n) {
    std::vector<float> sums(c, 0.0f);
    const float *a = as.data(), *b = bs.data();
    float* s = sums.data();
    for (int64_t i = n * map.hw; i < (n + 1) * map.hw; ++i) {
      const T* row = y + i * c;
      const T* d = dout ? dout + i * c : nullptr;
      across(c, [=](int64_t j, int64_t k) {
        floats v = silu(load(row + j, k) * load(a + j, k) + load(b + j, k));
        store(s + j, load(s + j, k) + (d ? v * load(d + j, k) : v), k);
      });
    }
    float* to = out + n * map.channels;
    map.folded(s, to);
    for (int64_t j = 0; j < map.channels; ++j) to[j] *= scale;
  }
}

// dt = (dout * gate + lift) * act'(y * a + b), and its sums over pixels with 1 and with y - mean:
// (2, channels).
template <typename T, bool act>
void slope(const Map& map, const T* y, const T* dout, const float* a, const float* b,
           const float* gate, int64_t gate_c, const float* lift, const float* mean, T* dt,
           float* sums, int threads) {
  int64_t c = map.c;
  auto as = map.repeated(a), bs = map.repeated(b), ms = map.repeated(mean);
  auto add = [&](int64_t sample, int64_t first, int64_t last, float* s) {
    std::vector<float> gs(c, 1.0f), ls(c, 0.0f);
    if (gate) map.repeat(gate + sample * gate_c, gate_c, gs.data());
    if (lift) map.repeat(lift + sample * map.channels, map.channels, ls.data());
    const float *a = as.data(), *b = bs.data(), *m = ms.data(), *g = gs.data(), *l = ls.data();
    float *s1 = s, *s2 = s + c;
    for (int64_t i = first; i < last; ++i) {
      const T *row = y + i * c, *d = dout + i * c;
      T* to = dt + i * c;
      across(c, [=](int64_t j, int64_t k) {
        floats v = load(row + j, k), e = load(d + j, k) * load(g + j, k) + load(l + j, k);
        if (act) e *= silu_slope(v * load(a + j, k) + load(b + j, k));
        store(s1 + j, load(s1 + j, k) + e, k);
        store(s2 + j, load(s2 + j, k) + e * (v - load(m + j, k)), k);
        store(to + j, e, k);
      });
    }
  };
  auto total = sum(map, 2, threads, add);
  for (int64_t j = 0; j < 2 * map.channels; ++j) sums[j] = float(total[j]);
}

// dt becomes dy = a * dt - p - q * (y - mean).
template <typename T>
void centre(const Map& map, const T* y, const float* a, const float* mean, const float* p,
            const float* q, T* dt, int threads) {
  int64_t c = map.c;
  auto as = map.repeated(a), qs = map.repeated(q), os = map.repeated(p), ms = map.repeated(mean);
  for (int64_t j = 0; j < c; ++j) os[j] -= qs[j] * ms[j];
  map.divide(threads, [&](int, int64_t, int64_t first, int64_t last) {
    const float *a = as.data(), *q = qs.data(), *o = os.data();
    for (int64_t i = first; i < last; ++i) {
      const T* row = y + i * c;
      T* to = dt + i * c;
      across(c, [=](int64_t j, int64_t k) {
        floats t = load(a + j, k) * load(to + j, k) - load(q + j, k) * load(row + j, k);
        store(to + j, t - load(o + j, k), k);
      });
    }
  });
}

}  // namespace

#define KERNELS(T, NAME)                                                                          \
  void NAME##_moments(const T* y, int64_t n, int64_t hw, int64_t c, float* mean, float* var,      \
                      int64_t threads) {                                                          \
    moments(Map(n, hw, c), y, mean, var, threads);                                                \
  }                                                                                               \
  void NAME##_pool(const T* y, int64_t n, int64_t hw, int64_t c, const T* dout, const float* a,   \
                   const float* b, float scale, float* out, int64_t threads) {                    \
    pool(Map(n, hw, c), y, dout, a, b, scale, out, threads);                                      \
  }                                                                                               \
  void NAME##_apply(const T* y, int64_t n, int64_t hw, int64_t c, const float* a, const float* b, \
                    const float* gate, int64_t gate_c, const T* skip, T* out, int64_t act,        \
                    int64_t threads) {                                                            \
    auto kernel = act ? apply<T, true> : apply<T, false>;                                         \
    kernel(Map(n, hw, c), y, a, b, gate, gate_c, skip, out, threads);                             \
  }                                                                                               \
  void NAME##_slope(const T* y, int64_t n, int64_t hw, int64_t c, const T* dout, const float* a,  \
                    const float* b, const float* gate, int64_t gate_c, const float* lift,         \
                    const float* mean, T* dt, float* sums, int64_t act, int64_t threads) {        \
    auto kernel = act ? slope<T, true> : slope<T, false>;                                         \
    kernel(Map(n, hw, c), y, dout, a, b, gate, gate_c, lift, mean, dt, sums, threads);            \
  }                                                                                               \
  void NAME##_centre(const T* y, int64_t n, int64_t hw, int64_t c, const float* a,                \
                     const float* mean, const float* p, const float* q, T* dt, int64_t threads) { \
    centre(Map(n, hw, c), y, a, mean, p, q, dt, threads);                                         \
  }

extern "C" {
KERNELS(float, float32)
KERNELS(bfloat16, bfloat16)
}
