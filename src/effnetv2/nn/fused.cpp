// Batch norm, SiLU, squeeze-excite gate and addition of the skip in as few passes over memory as
// their mathematics allows. Called by fused.py, which documents the formulas.
//
// Tensors are channels_last, hence row-major matrices of `rows` pixels by `c` channels, in float32
// or bfloat16; all arithmetic is float32. Loops over channels are innermost: they vectorise without
// reordering a sum, so results depend on the number of threads and on nothing else.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

struct bfloat16 {
  uint16_t bits;
};

inline float wide(float x) { return x; }

inline float wide(bfloat16 x) {
  uint32_t bits = uint32_t(x.bits) << 16;
  float y;
  std::memcpy(&y, &bits, 4);
  return y;
}

inline void narrow(float x, float& y) { y = x; }

inline void narrow(float x, bfloat16& y) {  // to nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  y.bits = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// 1 / (1 + exp(-x)) to a few units in the last place, without a branch or a call. exp(-x) is
// 2^whole * 2^part with |part| <= 1/2, the latter a polynomial of least relative error (2e-7).
inline float sigmoid(float x) {
  float y = x * -1.44269504f;
  y = y > 126.0f ? 126.0f : y;
  y = y < -126.0f ? -126.0f : y;  // a number that is none stays none
  float whole = std::nearbyintf(y), t = y - whole;
  float p = 1.00000012f + t * (0.693146884f + t * (0.240219891f + t * (0.0555077009f +
            t * (0.00968132634f + t * 0.00132752315f))));
  int32_t bits = (int32_t(whole) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, 4);
  return 1.0f / (1.0f + p * power);
}

inline float silu(float t) { return t * sigmoid(t); }

inline float silu_slope(float t) {
  float s = sigmoid(t);
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

  std::vector<float> repeated(const float* v) const {
    std::vector<float> r(c);
    for (int64_t j = 0; j < c; ++j) r[j] = v[j % channels];
    return r;
  }

  template <typename S>
  void folded(const S* sums, S* out) const {
    std::fill(out, out + channels, S(0));
    for (int64_t j = 0; j < c; ++j) out[j % channels] += sums[j];
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
  for (int64_t j = 0; j < map.channels; ++j) origin[j] = wide(y[j]);
  std::vector<float> repeated = map.repeated(origin.data());
  const float* o = repeated.data();
  auto sums = sum(map, 2, threads, [=](int64_t, int64_t first, int64_t last, float* s) {
    float *s1 = s, *s2 = s + c;
    for (int64_t i = first; i < last; ++i) {
      const T* row = y + i * c;
#pragma omp simd
      for (int64_t j = 0; j < c; ++j) {
        float d = wide(row[j]) - o[j];
        s1[j] += d;
        s2[j] += d * d;
      }
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
    if (gate)
      for (int64_t j = 0; j < c; ++j) gs[j] = gate[sample * gate_c + j % gate_c];
    const float *a = as.data(), *b = bs.data(), *g = gs.data();
    for (int64_t i = first; i < last; ++i) {
      const T* row = y + i * c;
      T* to = out + i * c;
      if (skip) {
        const T* r = skip + i * c;
#pragma omp simd
        for (int64_t j = 0; j < c; ++j) {
          float t = wide(row[j]) * a[j] + b[j];
          narrow((act ? silu(t) : t) * g[j] + wide(r[j]), to[j]);
        }
      } else {
#pragma omp simd
        for (int64_t j = 0; j < c; ++j) {
          float t = wide(row[j]) * a[j] + b[j];
          narrow((act ? silu(t) : t) * g[j], to[j]);
        }
      }
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
  for (int64_t k = 0; k < map.n; ++k) {
    std::vector<float> sums(c, 0.0f);
    const float *a = as.data(), *b = bs.data();
    float* s = sums.data();
    for (int64_t i = k * map.hw; i < (k + 1) * map.hw; ++i) {
      const T* row = y + i * c;
      if (dout) {
        const T* d = dout + i * c;
#pragma omp simd
        for (int64_t j = 0; j < c; ++j) s[j] += silu(wide(row[j]) * a[j] + b[j]) * wide(d[j]);
      } else {
#pragma omp simd
        for (int64_t j = 0; j < c; ++j) s[j] += silu(wide(row[j]) * a[j] + b[j]);
      }
    }
    float* to = out + k * map.channels;
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
    if (gate)
      for (int64_t j = 0; j < c; ++j) gs[j] = gate[sample * gate_c + j % gate_c];
    if (lift)
      for (int64_t j = 0; j < c; ++j) ls[j] = lift[sample * map.channels + j % map.channels];
    const float *a = as.data(), *b = bs.data(), *m = ms.data(), *g = gs.data(), *l = ls.data();
    float *s1 = s, *s2 = s + c;
    for (int64_t i = first; i < last; ++i) {
      const T *row = y + i * c, *d = dout + i * c;
      T* to = dt + i * c;
#pragma omp simd
      for (int64_t j = 0; j < c; ++j) {
        float v = wide(row[j]), e = wide(d[j]) * g[j] + l[j];
        if (act) e *= silu_slope(v * a[j] + b[j]);
        s1[j] += e;
        s2[j] += e * (v - m[j]);
        narrow(e, to[j]);
      }
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
  auto as = map.repeated(a), qs = map.repeated(q), os = map.repeated(p);
  for (int64_t j = 0; j < c; ++j) os[j] -= qs[j] * mean[j % map.channels];
  map.divide(threads, [&](int, int64_t, int64_t first, int64_t last) {
    const float *a = as.data(), *q = qs.data(), *o = os.data();
    for (int64_t i = first; i < last; ++i) {
      const T* row = y + i * c;
      T* to = dt + i * c;
#pragma omp simd
      for (int64_t j = 0; j < c; ++j) narrow(a[j] * wide(to[j]) - q[j] * wide(row[j]) - o[j], to[j]);
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
