// Convolutions from many channels to one. A product of matrices would waste all but one column of its tiles; here the vectors run along the
// channels that are summed, and neighbouring pixels share what they read.
#ifndef UNNOISE_SINGLE_BODY_H
#define UNNOISE_SINGLE_BODY_H
#include "gemm_body.h"

enum { SINGLE_PIXELS = 4, SINGLE_VECTORS = 2, MOST_SINGLE_TAPS = 3, MOST_SINGLE_WIDTH = 1024 };

INLINE float sum_of(lanes v) {
  float sum = 0;
  for (int i = 0; i < LANES; i++) sum += v[i];
  return sum;
}

// A row of x's picture n; NULL beyond the picture.
INLINE const void *single_row(const un_single *p, const void *x, int64_t n, int64_t row, int dtype) {
  return row < 0 || row >= p->x_size[0] ? NULL : element(x, n * p->x_batch + row * p->x_stride[0], dtype);
}

// w has room for MOST_SINGLE_TAPS of each row of the window.
INLINE void single_outputs(const un_single *p, int dtype, void *const *slots, float *w, int threads) {
  for (int64_t row = 0; row < p->taps[0]; row++)
    for (int64_t column = 0; column < p->taps[1]; column++)
      for (int64_t i = 0; i < p->in; i++)
        w[(row * MOST_SINGLE_TAPS + column) * p->in + i] = load_one(slots[p->w], row * p->w_tap[0] + column * p->w_tap[1] + i * p->w_in, p->w_dtype);
  const float bias = p->bias < 0 ? 0 : load_one(slots[p->bias], 0, p->bias_dtype);
  const int width = (int)p->taps[1];
#pragma omp parallel for schedule(static) num_threads(un_parts(p->batch * p->height)) if (threads > 1)
  for (int64_t k = 0; k < p->batch * p->height; k++) {
    const int64_t n = k / p->height, row = k % p->height, to = n * p->y_batch + row * p->y_stride[0];
    for (int64_t column = 0; column < p->width; column += SINGLE_PIXELS) {
      lanes sum[SINGLE_PIXELS] = {{0}};
      for (int64_t t = 0; t < p->taps[0]; t++) {
        const void *line = single_row(p, slots[p->x], n, row + t - p->pad[0], dtype);
        if (!line) continue;
        const void *at[SINGLE_PIXELS + MOST_SINGLE_TAPS - 1];
        for (int j = 0; j < SINGLE_PIXELS + MOST_SINGLE_TAPS - 1; j++) {
          const int64_t c = column + j - p->pad[1];
          at[j] = c < 0 || c >= p->x_size[1] ? zeros : element(line, c * p->x_stride[1], dtype);
        }
        const float *from = w + t * MOST_SINGLE_TAPS * p->in;
        for (int64_t i = 0; i < p->in; i += LANES) {
          lanes v[SINGLE_PIXELS + MOST_SINGLE_TAPS - 1];
          for (int j = 0; j < SINGLE_PIXELS + MOST_SINGLE_TAPS - 1; j++) v[j] = load_lanes(at[j], i, dtype);
          for (int m = 0; m < MOST_SINGLE_TAPS; m++) {
            if (m >= width) break;  // 0 times infinity is not 0
            const lanes by = *(const lanes *)(from + m * p->in + i);
            for (int j = 0; j < SINGLE_PIXELS; j++) sum[j] += v[j + m] * by;
          }
        }
      }
      for (int j = 0; j < SINGLE_PIXELS && column + j < p->width; j++)
        store_one(slots[p->y], to + (column + j) * p->y_stride[1], p->y_dtype, sum_of(sum[j]) + bias);
    }
  }
}

// Each thread adds up in double precision what a row gives in single. sums: of each thread [tap][in], then the bias.
INLINE void single_gradient(const un_single *p, int dtype, void *const *slots, double *sums, int threads) {
  const int64_t taps = p->taps[0] * p->taps[1], size = taps * p->in + 1;
  int team = 1;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    const int64_t me = omp_get_thread_num(), members = omp_get_num_threads(), rows = p->batch * p->height;
    if (me == 0) team = (int)members;
    double *mine = sums + me * size;
    memset(mine, 0, (size_t)size * sizeof *mine);
    for (int64_t k = rows * me / members; k < rows * (me + 1) / members; k++) {
      const int64_t n = k / p->height, row = k % p->height;
      float line[MOST_SINGLE_WIDTH + 2 * MOST_SINGLE_TAPS] = {0}, *y = line + MOST_SINGLE_TAPS, total = 0;
      for (int64_t q = 0; q < p->width; q++) total += y[q] = load_one(slots[p->y], n * p->y_batch + row * p->y_stride[0] + q * p->y_stride[1], p->y_dtype);
      mine[size - 1] += total;
      for (int64_t t = 0; t < p->taps[0]; t++) {
        const void *x = single_row(p, slots[p->x], n, row + t - p->pad[0], dtype);
        if (!x) continue;
        for (int64_t i = 0; i < p->in; i += LANES * SINGLE_VECTORS) {
          lanes sum[MOST_SINGLE_TAPS][SINGLE_VECTORS] = {{{0}}};
          // Tap m of y[q − m + pad] looks at pixel q.
          for (int64_t q = 0; q < p->x_size[1]; q++) {
            const float *with = y + q + p->pad[1];
            lanes v[SINGLE_VECTORS];
            for (int j = 0; j < SINGLE_VECTORS; j++) v[j] = load_lanes(x, q * p->x_stride[1] + i + j * LANES, dtype);
            for (int m = 0; m < MOST_SINGLE_TAPS; m++)
              for (int j = 0; j < SINGLE_VECTORS; j++) sum[m][j] += v[j] * with[-m];
          }
          for (int64_t m = 0; m < p->taps[1]; m++)
            for (int j = 0; j < SINGLE_VECTORS; j++)
              for (int l = 0; l < LANES; l++) mine[(t * p->taps[1] + m) * p->in + i + j * LANES + l] += sum[m][j][l];
        }
      }
    }
  }
  for (int64_t k = 0; k < size; k++) {
    double v = 0;
    for (int t = 0; t < team; t++) v += sums[t * size + k];
    const int64_t t = k / p->in, i = k % p->in;
    if (t < taps) store_one(slots[p->w], t / p->taps[1] * p->w_tap[0] + t % p->taps[1] * p->w_tap[1] + i * p->w_in, p->w_dtype, (float)v);
    else if (p->bias >= 0) store_one(slots[p->bias], 0, p->bias_dtype, (float)v);
  }
}

static void single(const un_single *p, void *const *slots, void *scratch, int threads) {
  if (p->gradient) {
    if (p->x_dtype == UN_F32) single_gradient(p, UN_F32, slots, scratch, threads);
    else single_gradient(p, UN_BF16, slots, scratch, threads);
    return;
  }
  if (p->x_dtype == UN_F32) single_outputs(p, UN_F32, slots, scratch, threads);
  else single_outputs(p, UN_BF16, slots, scratch, threads);
}

// In bytes; 0: the kernel does not take these channels or windows.
static size_t single_scratch(const un_single *p, int threads) {
  const int64_t size = MOST_SINGLE_TAPS * MOST_SINGLE_TAPS * p->in + 1;
  if (p->in % (LANES * SINGLE_VECTORS) != 0 || p->in > DEPTH || p->taps[0] > MOST_SINGLE_TAPS || p->taps[1] > MOST_SINGLE_TAPS || p->width > MOST_SINGLE_WIDTH) return 0;
  return (size_t)size * (p->gradient ? (size_t)threads * sizeof(double) : sizeof(float));
}

#endif
