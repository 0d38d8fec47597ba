// Sums, products and extremes.
#ifndef UNNOISE_REDUCE_BODY_H
#define UNNOISE_REDUCE_BODY_H
#include "vectors_body.h"

INLINE float combine(int kind, float a, float b) {
  switch (kind) {
    case UN_REDUCE_SUM: return a + b;
    case UN_REDUCE_PRODUCT: return a * b;
    case UN_REDUCE_MAX: return a != a ? a : b != b ? b : a > b ? a : b;
    default: return a != a ? a : b != b ? b : a < b ? a : b;
  }
}

INLINE float neutral(int kind) {
  return kind == UN_REDUCE_SUM ? 0.f : kind == UN_REDUCE_PRODUCT ? 1.f : kind == UN_REDUCE_MAX ? -INFINITY : INFINITY;
}

// One strip of at most UN_LANES inner positions of one outer index, rows [first,last) of mid.
static void reduce_strip(int kind, const void *x, int dtype, int64_t base, int64_t first, int64_t last, int64_t inner, int width, double *acc) {
  float part[UN_LANES], row[UN_LANES];
  const float zero = neutral(kind);
  for (int i = 0; i < width; i++) part[i] = zero;
  for (int64_t m = first; m < last; m++) {
    const float *v = row;
    if (dtype == UN_F32) v = (const float *)x + base + m * inner;
    else load_run(row, x, base + m * inner, 1, width, dtype);
    if (kind == UN_REDUCE_SUM) for (int i = 0; i < width; i++) part[i] += v[i];
    else for (int i = 0; i < width; i++) part[i] = combine(kind, part[i], v[i]);
    if (kind == UN_REDUCE_SUM && (m - first) % 256 == 255) for (int i = 0; i < width; i++) { acc[i] += part[i]; part[i] = 0; }
  }
  for (int i = 0; i < width; i++) acc[i] = kind == UN_REDUCE_SUM ? acc[i] + part[i] : combine(kind, (float)acc[i], part[i]);
}

// A contiguous run reduced to one value.
static double reduce_run(int kind, const void *x, int dtype, int64_t first, int64_t last) {
  double total = neutral(kind);
  float buffer[UN_LANES];
  for (int64_t i = first; i < last; i += UN_LANES) {
    int n = (int)(last - i < UN_LANES ? last - i : UN_LANES);
    const float *v = buffer;
    if (dtype == UN_F32) v = (const float *)x + i;
    else load_run(buffer, x, i, 1, n, dtype);
    float lanes[16];
    for (int j = 0; j < 16; j++) lanes[j] = neutral(kind);
    int k = 0;
    if (kind == UN_REDUCE_SUM) for (; k + 16 <= n; k += 16) for (int j = 0; j < 16; j++) lanes[j] += v[k + j];
    else for (; k + 16 <= n; k += 16) for (int j = 0; j < 16; j++) lanes[j] = combine(kind, lanes[j], v[k + j]);
    for (; k < n; k++) lanes[0] = combine(kind, lanes[0], v[k]);
    for (int j = 0; j < 16; j++)
      total = kind == UN_REDUCE_SUM ? total + lanes[j] : kind == UN_REDUCE_PRODUCT ? total * lanes[j] : combine(kind, (float)total, lanes[j]);
  }
  return total;
}

static void reduce(int kind, const void *x, int x_dtype, int64_t outer, int64_t mid, int64_t inner, void *y, int y_dtype) {
  int threads = omp_get_max_threads();
  if (outer * mid * inner < 16384) threads = 1;
  if (inner == 1) {
    // Long runs are cut so that every thread has work; the cuts depend on the thread count alone.
    int64_t cuts = outer >= threads ? 1 : (threads + outer - 1) / outer;
    if (mid < 4096) cuts = 1;
    double *parts = malloc((size_t)(outer * cuts) * sizeof(double));
#pragma omp parallel for schedule(static) num_threads(un_parts(outer * cuts)) if (threads > 1)
    for (int64_t w = 0; w < outer * cuts; w++) {
      int64_t o = w / cuts, c = w % cuts;
      parts[w] = reduce_run(kind, x, x_dtype, o * mid + mid * c / cuts, o * mid + mid * (c + 1) / cuts);
    }
    for (int64_t o = 0; o < outer; o++) {
      double v = parts[o * cuts];
      for (int64_t c = 1; c < cuts; c++) {
        double p = parts[o * cuts + c];
        v = kind == UN_REDUCE_SUM ? v + p : kind == UN_REDUCE_PRODUCT ? v * p : combine(kind, (float)v, (float)p);
      }
      store_one(y, o, y_dtype, (float)v);
    }
    free(parts);
    return;
  }
  const int64_t strips = (inner + UN_LANES - 1) / UN_LANES, work = outer * strips;
  int64_t cuts = work >= threads ? 1 : (threads + work - 1) / work;
  if (cuts > mid) cuts = mid > 0 ? mid : 1;
  const int64_t lanes = inner < UN_LANES ? inner : UN_LANES;
  double *parts = malloc((size_t)(work * cuts * lanes) * sizeof(double));
#pragma omp parallel for schedule(static) num_threads(un_parts(work * cuts)) if (threads > 1)
  for (int64_t w = 0; w < work * cuts; w++) {
    int64_t unit = w / cuts, c = w % cuts, o = unit / strips, s = unit % strips * UN_LANES;
    int width = (int)(inner - s < UN_LANES ? inner - s : UN_LANES);
    double *acc = parts + w * lanes;
    for (int i = 0; i < width; i++) acc[i] = neutral(kind);
    reduce_strip(kind, x, x_dtype, o * mid * inner + s, mid * c / cuts, mid * (c + 1) / cuts, inner, width, acc);
  }
  for (int64_t unit = 0; unit < work; unit++) {
    int64_t o = unit / strips, s = unit % strips * UN_LANES;
    int width = (int)(inner - s < UN_LANES ? inner - s : UN_LANES);
    for (int i = 0; i < width; i++) {
      double v = parts[unit * cuts * lanes + i];
      for (int64_t c = 1; c < cuts; c++) {
        double p = parts[(unit * cuts + c) * lanes + i];
        v = kind == UN_REDUCE_SUM ? v + p : kind == UN_REDUCE_PRODUCT ? v * p : combine(kind, (float)v, (float)p);
      }
      store_one(y, o * inner + s + i, y_dtype, (float)v);
    }
  }
  free(parts);
}

#endif
