// Weights from an array as it stands to the blocked layouts that oneDNN's kernels read. oneDNN's own reorders of bfloat16 reach half a
// gigabyte a second, which is longer than the first evaluation of a large network.
#include "native.h"

#include <omp.h>
#include <stdlib.h>

// What a block holds: where in the array its elements lie, from the block's first, and in each dimension.
typedef struct { int64_t count, *from; int32_t *within; } inside;

static inside look_inside(const un_blocking *b) {
  inside in = {.count = 1};
  for (int i = 0; i < b->n_blocks; i++) in.count *= b->block[i];
  in.from = malloc((size_t)in.count * sizeof *in.from);
  in.within = calloc((size_t)(in.count * b->n_dims), sizeof *in.within);
  for (int64_t k = 0; k < in.count; k++) {
    int32_t *at = in.within + k * b->n_dims;
    int64_t below = in.count, rest = k;
    for (int i = 0; i < b->n_blocks; i++) {
      below /= b->block[i];
      at[b->index[i]] = at[b->index[i]] * (int32_t)b->block[i] + (int32_t)(rest / below);
      rest %= below;
    }
    in.from[k] = 0;
    for (int d = 0; d < b->n_dims; d++) in.from[k] += at[d] * b->from[d];
  }
  return in;
}

void un_pack_blocks(const un_blocking *b, const void *src, void *dst) {
  const inside in = look_inside(b);
  int64_t size[UN_MAX_BLOCKED], blocks[UN_MAX_BLOCKED], total = 1;
  for (int d = 0; d < b->n_dims; d++) size[d] = 1;
  for (int i = 0; i < b->n_blocks; i++) size[b->index[i]] *= b->block[i];
  for (int d = 0; d < b->n_dims; d++) total *= blocks[d] = (b->dims[d] + size[d] - 1) / size[d];
#pragma omp parallel for schedule(static)
  for (int64_t k = 0; k < total; k++) {
    int64_t rest = k, from = 0, to = 0, left[UN_MAX_BLOCKED];
    int whole = 1;
    for (int d = b->n_dims - 1; d >= 0; d--) {
      const int64_t at = rest % blocks[d];
      rest /= blocks[d];
      from += at * size[d] * b->from[d];
      to += at * b->to[d];
      left[d] = b->dims[d] - at * size[d];
      whole &= left[d] >= size[d];
    }
#define COPY(type) do { \
    const type *restrict x = (const type *)src + from; \
    type *restrict y = (type *)dst + to; \
    if (whole) for (int64_t i = 0; i < in.count; i++) y[i] = x[in.from[i]]; \
    else for (int64_t i = 0; i < in.count; i++) { \
      int there = 1; \
      for (int d = 0; d < b->n_dims; d++) there &= in.within[i * b->n_dims + d] < left[d]; \
      y[i] = there ? x[in.from[i]] : 0; \
    } } while (0)
    if (b->size == 2) COPY(uint16_t);
    else COPY(uint32_t);
#undef COPY
  }
  free(in.from);
  free(in.within);
}
