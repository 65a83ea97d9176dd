// Depthwise convolution, forwards and backwards. Called by kernels.py.
//
// For a few channels at a time, as many as there are lanes, a sample's map is copied to a padded
// scratch of float32 that stays in the cache; there every pixel meets the k x k weights, which
// stay in registers. The gradients by the map and by the weights share one such walk.

#include <omp.h>

#include <vector>

#include "lanes.h"

namespace {

struct Shape {
  int64_t n, c, h, w, out_h, out_w, stride, top, left;

  // Side lengths of the scratch: what the windows of all outputs cover, and the map itself.
  int64_t tall(int64_t k) const { return std::max((out_h - 1) * stride + k, top + h); }
  int64_t pitch(int64_t k) const { return std::max((out_w - 1) * stride + k, left + w); }
};

// The map of one sample from channel j on, in the middle of zeros.
template <int k, typename T>
void pad(const Shape& s, const T* x, int64_t j, int64_t count, std::vector<floats>& scratch) {
  std::fill(scratch.begin(), scratch.end(), floats{});
  for (int64_t y = 0; y < s.h; ++y)
    for (int64_t i = 0; i < s.w; ++i)
      scratch[(s.top + y) * s.pitch(k) + s.left + i] = load(x + (y * s.w + i) * s.c + j, count);
}

template <int k, typename T>
void forward(const Shape& s, const T* x, const float* weight, T* out, int threads) {
  int64_t pitch = s.pitch(k);
#pragma omp parallel num_threads(threads)
  {
    std::vector<floats> scratch(s.tall(k) * pitch);
#pragma omp for schedule(static)
    for (int64_t n = 0; n < s.n; ++n)
      across(s.c, [&](int64_t j, int64_t count) {
        pad<k>(s, x + n * s.h * s.w * s.c, j, count, scratch);
        floats w[k * k];
        for (int i = 0; i < k * k; ++i) w[i] = load(weight + i * s.c + j, count);
        T* to = out + n * s.out_h * s.out_w * s.c + j;
        for (int64_t y = 0; y < s.out_h; ++y)
          for (int64_t i = 0; i < s.out_w; ++i, to += s.c) {
            const floats* window = scratch.data() + y * s.stride * pitch + i * s.stride;
            floats sum = {};
            for (int a = 0; a < k; ++a)
              for (int b = 0; b < k; ++b) sum += window[a * pitch + b] * w[a * k + b];
            store(to, sum, count);
          }
      });
  }
}

template <int k, typename T>
void backward(const Shape& s, const T* x, const float* weight, const T* dout, T* dx,
              float* dweight, int threads) {
  int64_t pitch = s.pitch(k), size = k * k * s.c;
  std::vector<float> partial(size_t(threads) * size, 0.0f);
#pragma omp parallel num_threads(threads)
  {
    std::vector<floats> scratch(s.tall(k) * pitch), slopes(s.tall(k) * pitch);
    float* mine = partial.data() + omp_get_thread_num() * size;
#pragma omp for schedule(static)
    for (int64_t n = 0; n < s.n; ++n)
      across(s.c, [&](int64_t j, int64_t count) {
        pad<k>(s, x + n * s.h * s.w * s.c, j, count, scratch);
        std::fill(slopes.begin(), slopes.end(), floats{});
        floats w[k * k], dw[k * k];
        for (int i = 0; i < k * k; ++i) {
          w[i] = load(weight + i * s.c + j, count);
          dw[i] = load(mine + i * s.c + j, count);
        }
        const T* from = dout + n * s.out_h * s.out_w * s.c + j;
        for (int64_t y = 0; y < s.out_h; ++y)
          for (int64_t i = 0; i < s.out_w; ++i, from += s.c) {
            floats g = load(from, count);
            int64_t corner = y * s.stride * pitch + i * s.stride;
            const floats* window = scratch.data() + corner;
            floats* slope = slopes.data() + corner;
            for (int a = 0; a < k; ++a)
              for (int b = 0; b < k; ++b) {
                dw[a * k + b] += g * window[a * pitch + b];
                slope[a * pitch + b] += g * w[a * k + b];
              }
          }
        for (int i = 0; i < k * k; ++i) store(mine + i * s.c + j, dw[i], count);
        T* to = dx + n * s.h * s.w * s.c + j;
        for (int64_t y = 0; y < s.h; ++y)
          for (int64_t i = 0; i < s.w; ++i, to += s.c)
            store(to, slopes[(s.top + y) * pitch + s.left + i], count);
      });
  }
  std::fill(dweight, dweight + size, 0.0f);
  for (int t = 0; t < threads; ++t)
    for (int64_t i = 0; i < size; ++i) dweight[i] += partial[size_t(t) * size + i];
}

}  // namespace

#define KERNELS(T, NAME)                                                                          \
  void NAME##_depthwise(const T* x, int64_t n, int64_t c, int64_t h, int64_t w, int64_t out_h,    \
                        int64_t out_w, int64_t stride, int64_t top, int64_t left, int64_t k,      \
                        const float* weight, T* out, int64_t threads) {                           \
    Shape shape{n, c, h, w, out_h, out_w, stride, top, left};                                     \
    (k == 3 ? forward<3, T> : forward<5, T>)(shape, x, weight, out, threads);                     \
  }                                                                                               \
  void NAME##_depthwise_backward(const T* x, int64_t n, int64_t c, int64_t h, int64_t w,          \
                                 int64_t out_h, int64_t out_w, int64_t stride, int64_t top,       \
                                 int64_t left, int64_t k, const float* weight, const T* dout,     \
                                 T* dx, float* dweight, int64_t threads) {                        \
    Shape shape{n, c, h, w, out_h, out_w, stride, top, left};                                     \
    (k == 3 ? backward<3, T> : backward<5, T>)(shape, x, weight, dout, dx, dweight, threads);     \
  }

extern "C" {
KERNELS(float, float32)
KERNELS(bfloat16, bfloat16)
}
