// Sums for means and variances.
#ifndef UNNOISE_MOMENTS_BODY_H
#define UNNOISE_MOMENTS_BODY_H
#include "vectors_body.h"

// A block of rows stays in the first-level cache while it is gone over twice, the second time for differences from its own mean, so that
// no digits cancel in float32.
enum { MOMENT_ROWS = 32, MOMENT_VECTORS = 4 };

INLINE void block_moments(const void *x, int dtype, int64_t rows, int64_t channels, int64_t c, const float *shift, int vectors, double *sum, double *square) {
  lanes shifted[MOMENT_ROWS][MOMENT_VECTORS], first[MOMENT_VECTORS], s[MOMENT_VECTORS], q[MOMENT_VECTORS], mean[MOMENT_VECTORS];
  for (int j = 0; j < vectors; j++) first[j] = *(const lanes *)(shift + c + j * LANES), s[j] = q[j] = (lanes){0};
  for (int64_t r = 0; r < rows; r++)
    for (int j = 0; j < vectors; j++) s[j] += shifted[r][j] = load_lanes(x, r * channels + c + j * LANES, dtype) - first[j];
  for (int j = 0; j < vectors; j++) mean[j] = s[j] / (float)rows;
  for (int64_t r = 0; r < rows; r++)
    for (int j = 0; j < vectors; j++) q[j] += (shifted[r][j] - mean[j]) * (shifted[r][j] - mean[j]);
  for (int j = 0; j < vectors; j++)
    for (int i = 0; i < LANES; i++) {
      sum[c + j * LANES + i] += s[j][i];
      square[c + j * LANES + i] += q[j][i] + (double)s[j][i] * mean[j][i];
    }
}

INLINE void all_moments(const void *x, int dtype, int64_t rows, int64_t channels, double *all) {
  int threads = omp_get_max_threads();
  if (rows * channels < 16384) threads = 1;
  double *totals = calloc((size_t)(2 * channels * threads), sizeof(double));
  float *shift = malloc((size_t)channels * sizeof(float));
  load_run(shift, x, 0, 1, (int)channels, dtype);
  const int64_t whole = dtype == UN_F32 || dtype == UN_BF16 ? channels / LANES : 0, blocks = (rows + MOMENT_ROWS - 1) / MOMENT_ROWS;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t b = 0; b < blocks; b++) {
    double *sum = totals + 2 * channels * omp_get_thread_num(), *square = sum + channels;
    const int64_t n = least(MOMENT_ROWS, rows - b * MOMENT_ROWS);
    const void *from = (const char *)x + b * MOMENT_ROWS * channels * size_of(dtype);
    int64_t v = 0;
    for (; v + MOMENT_VECTORS <= whole; v += MOMENT_VECTORS) block_moments(from, dtype, n, channels, v * LANES, shift, MOMENT_VECTORS, sum, square);
    for (; v < whole; v++) block_moments(from, dtype, n, channels, v * LANES, shift, 1, sum, square);
    for (int64_t c = v * LANES; c < channels; c++)
      for (int64_t r = 0; r < n; r++) {
        const double d = (double)load_one(from, r * channels + c, dtype) - shift[c];
        sum[c] += d;
        square[c] += d * d;
      }
  }
  for (int64_t i = 0; i < 2 * channels; i++) {
    all[i] = 0;
    for (int t = 0; t < threads; t++) all[i] += totals[2 * channels * t + i];
  }
  free(shift);
  free(totals);
}

static void moments(const void *x, int dtype, int64_t rows, int64_t channels, double *all) {
  if (dtype == UN_F32) all_moments(x, UN_F32, rows, channels, all);
  else if (dtype == UN_BF16) all_moments(x, UN_BF16, rows, channels, all);
  else all_moments(x, dtype, rows, channels, all);
}

#endif
