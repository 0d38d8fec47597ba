// Weights from an array as it stands to the blocked layouts that oneDNN's kernels read.
#include "native.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct un_packing {
  un_blocking b;
  int64_t size[UN_MAX_BLOCKED], blocks[UN_MAX_BLOCKED], total;  // elements of a block and blocks, in each dimension, and blocks in all
  int64_t count, *from;                                         // of elements in a block, and where they lie from its first
  int32_t *within;                                              // and in each dimension
};

un_packing *un_new_packing(const un_blocking *b) {
  un_packing *p = calloc(1, sizeof *p);
  p->b = *b;
  p->count = p->total = 1;
  for (int d = 0; d < b->n_dims; d++) p->size[d] = 1;
  for (int i = 0; i < b->n_blocks; i++) p->size[b->index[i]] *= b->block[i];
  for (int d = 0; d < b->n_dims; d++) {
    p->total *= p->blocks[d] = (b->dims[d] + p->size[d] - 1) / p->size[d];
    p->count *= p->size[d];
  }
  p->from = calloc((size_t)p->count, sizeof *p->from);
  p->within = calloc((size_t)(p->count * b->n_dims), sizeof *p->within);
  for (int64_t k = 0; k < p->count; k++) {
    int32_t *at = p->within + k * b->n_dims;
    int64_t below = p->count, rest = k;
    for (int i = 0; i < b->n_blocks; i++) {
      below /= b->block[i];
      at[b->index[i]] = at[b->index[i]] * (int32_t)b->block[i] + (int32_t)(rest / below);
      rest %= below;
    }
    for (int d = 0; d < b->n_dims; d++) p->from[k] += at[d] * b->from[d];
  }
  return p;
}

void un_free_packing(un_packing *p) {
  if (!p) return;
  free(p->from);
  free(p->within);
  free(p);
}

// A block of elements of two bytes whose innermost blocks are a row of pairs; left: of the array in each dimension, from the block on.
static void pack_pairs(const un_packing *p, const int64_t *left, const uint16_t *restrict x, uint16_t *restrict y) {
  const int last = p->b.n_blocks - 1, along = (int)p->b.index[last - 1], pair = (int)p->b.index[last];
  const int64_t width = p->b.block[last - 1], step = p->from[2] - p->from[0], second = p->from[1] - p->from[0];
  for (int64_t k = 0; k < p->count; k += 2 * width, y += 2 * width) {
    const int32_t *within = p->within + k * p->b.n_dims;
    const int64_t halves = left[pair] - within[pair];
    int64_t n = left[along] - within[along];
    n = halves <= 0 || n < 0 ? 0 : n > width ? width : n;
    const uint16_t *row = x + p->from[k];
    if (halves == 1) for (int64_t i = 0; i < n; i++) { y[2 * i] = row[i * step]; y[2 * i + 1] = 0; }
    else if (second == 1) for (int64_t i = 0; i < n; i++) memcpy(y + 2 * i, row + i * step, 4);
    else if (step == 1) for (int64_t i = 0; i < n; i++) { y[2 * i] = row[i]; y[2 * i + 1] = row[i + second]; }
    else for (int64_t i = 0; i < n; i++) { y[2 * i] = row[i * step]; y[2 * i + 1] = row[i * step + second]; }
    memset(y + 2 * n, 0, (size_t)(width - n) * 4);
  }
}

void un_pack_blocks(const un_packing *p, const void *src, void *dst) {
  const un_blocking *b = &p->b;
  const int pairs = b->size == 2 && b->n_blocks > 1 && b->block[b->n_blocks - 1] == 2 && b->index[b->n_blocks - 1] != b->index[b->n_blocks - 2];
#pragma omp parallel for schedule(static) num_threads(un_parts(p->total))
  for (int64_t k = 0; k < p->total; k++) {
    int64_t rest = k, from = 0, to = 0, left[UN_MAX_BLOCKED];
    int whole = 1;
    for (int d = b->n_dims - 1; d >= 0; d--) {
      const int64_t at = rest % p->blocks[d];
      rest /= p->blocks[d];
      from += at * p->size[d] * b->from[d];
      to += at * b->to[d];
      left[d] = b->have[d] - at * p->size[d];
      whole &= left[d] >= p->size[d];
    }
    if (pairs) {
      pack_pairs(p, left, (const uint16_t *)src + from, (uint16_t *)dst + to);
      continue;
    }
#define COPY(type) do { \
    const type *restrict x = (const type *)src + from; \
    type *restrict y = (type *)dst + to; \
    if (whole) for (int64_t i = 0; i < p->count; i++) y[i] = x[p->from[i]]; \
    else for (int64_t i = 0; i < p->count; i++) { \
      int there = 1; \
      for (int d = 0; d < b->n_dims; d++) there &= p->within[i * b->n_dims + d] < left[d]; \
      y[i] = there ? x[p->from[i]] : 0; \
    } } while (0)
    if (b->size == 2) COPY(uint16_t);
    else COPY(uint32_t);
#undef COPY
  }
}
