// Softmax, and what attention needs of it.
#ifndef UNNOISE_SOFTMAX_BODY_H
#define UNNOISE_SOFTMAX_BODY_H
#include "functions_body.h"

INLINE float largest_of(const float *x, int64_t n) {
  float largest[16];
  for (int j = 0; j < 16; j++) largest[j] = -INFINITY;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) for (int j = 0; j < 16; j++) largest[j] = x[i + j] > largest[j] ? x[i + j] : largest[j];
  for (; i < n; i++) largest[0] = x[i] > largest[0] ? x[i] : largest[0];
  for (int j = 1; j < 16; j++) largest[0] = largest[j] > largest[0] ? largest[j] : largest[0];
  return largest[0];
}

// e = e^(scale·x − most) of n numbers, which may be x; returns their sum.
INLINE double exponentials(const float *x, int64_t n, float scale, float most, float *e) {
  float sums[16] = {0};
  int64_t i;
#pragma GCC ivdep
  for (int64_t k = 0; k < n; k++) e[k] = fast_exp(scale * x[k] - most);
  for (i = 0; i + 16 <= n; i += 16) for (int j = 0; j < 16; j++) sums[j] += e[i + j];
  for (; i < n; i++) sums[0] += e[i];
  double sum = 0;
  for (int j = 0; j < 16; j++) sum += sums[j];
  return sum;
}

// Of each row of n: e^(x − the largest), divided by their sum. A NaN, or no finite largest, makes the row NaN.
static void softmax(const float *x, int64_t rows, int64_t n, float *y) {
#pragma omp parallel for schedule(static) num_threads(un_parts(rows)) if (rows > 1 && rows * n >= 4096)
  for (int64_t r = 0; r < rows; r++) {
    float *restrict e = y + r * n;
    const float factor = (float)(1 / exponentials(x + r * n, n, 1, largest_of(x + r * n, n), e));
    for (int64_t k = 0; k < n; k++) e[k] *= factor;
  }
}

static void shares(float *x, int64_t rows, int64_t n, int64_t piece, int64_t stride, float scale, void *y, int dtype, float *factors) {
  for (int64_t r = 0; r < rows; r++) {
    float most = -INFINITY;
    double sum = 0;
    for (int64_t k = 0; k < n; k += piece) {
      const float largest = largest_of(x + rows * k + r * least(piece, stride - k), least(piece, n - k));
      most = largest > most ? largest : most;
    }
    for (int64_t k = 0; k < stride; k += piece) {
      const int64_t width = least(piece, stride - k), there = least(piece, n - k);
      float *v = x + rows * k + r * width;
      sum += exponentials(v, there, scale, scale * most, v);
      for (int64_t i = there; i < width; i++) v[i] = 0;
      store_run(y, r * stride + k, v, (int)width, dtype);
    }
    factors[r] = (float)(1 / sum);
  }
}

static void scaled_rows(const float *x, int64_t rows, int64_t n, const float *factors, void *y, int64_t y_stride, int dtype) {
  float line[UN_LANES];
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < n; i += UN_LANES) {
      const int count = n - i < UN_LANES ? (int)(n - i) : UN_LANES;
      for (int j = 0; j < count; j++) line[j] = x[r * n + i + j] * factors[r];
      store_run(y, r * y_stride + i, line, count, dtype);
    }
}

#endif
