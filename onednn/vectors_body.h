// What the kernels of every instruction set begin with: vectors, and runs of elements read and written as float32.
#ifndef UNNOISE_VECTORS_BODY_H
#define UNNOISE_VECTORS_BODY_H

// Nothing here reads errno or the flags of floating-point exceptions, and only without them are branches turned into selections.
#pragma GCC optimize("no-math-errno", "no-trapping-math")

#include "kernels.h"
#include "convert.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#elif defined(__aarch64__)
enum { LANES = 4 };
#else
enum { LANES = 4 };
#endif

typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
typedef uint32_t bit_lanes __attribute__((vector_size(LANES * sizeof(uint32_t)), may_alias));
typedef uint16_t half_lanes __attribute__((vector_size(LANES * sizeof(uint16_t)), aligned(2), may_alias));

// Of float32 or bfloat16.
INLINE lanes load_lanes(const void *p, int64_t i, int dtype) {
  if (dtype == UN_F32) return *(const lanes *)((const float *)p + i);
  return (lanes)(__builtin_convertvector(*(const half_lanes *)((const uint16_t *)p + i), bit_lanes) << 16);
}

INLINE void store_lanes(void *p, int64_t i, lanes v, int dtype) {
  if (dtype == UN_F32) { *(lanes *)((float *)p + i) = v; return; }
  const bit_lanes u = (bit_lanes)v, number = (bit_lanes)(v == v);
  const bit_lanes half = (number & ((u + 0x7fff + (u >> 16 & 1)) >> 16)) | (~number & (u >> 16 | 0x40));  // as to_bf16
  *(half_lanes *)((uint16_t *)p + i) = __builtin_convertvector(half, half_lanes);
}

INLINE const void *element(const void *p, int64_t i, int dtype) { return (const char *)p + i * (dtype == UN_F32 ? 4 : 2); }

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t parts_of(int64_t n, int64_t size) { return (n + size - 1) / size; }
INLINE int64_t up_to(int64_t n, int64_t multiple) { return parts_of(n, multiple) * multiple; }

static void load_run(float *restrict dst, const void *src, int64_t offset, int64_t stride, int n, int dtype) {
  if (stride == 1) {
    if (dtype == UN_F32) { memcpy(dst, (const float *)src + offset, (size_t)n * 4); return; }
    if (dtype == UN_BF16) {
      const uint16_t *restrict s = (const uint16_t *)src + offset;
      for (int i = 0; i < n; i++) dst[i] = from_bf16(s[i]);
      return;
    }
    if (dtype == UN_F16) {
      const uint16_t *restrict s = (const uint16_t *)src + offset;
      for (int i = 0; i < n; i++) dst[i] = from_f16(s[i]);
      return;
    }
  }
  if (stride == 0) {
    float v = load_one(src, offset, dtype);
    for (int i = 0; i < n; i++) dst[i] = v;
    return;
  }
  for (int i = 0; i < n; i++) dst[i] = load_one(src, offset + i * stride, dtype);
}

static void store_run(void *dst, int64_t offset, const float *restrict src, int n, int dtype) {
  if (dtype == UN_F32) { memcpy((float *)dst + offset, src, (size_t)n * 4); return; }
  if (dtype == UN_BF16) {
    uint16_t *restrict d = (uint16_t *)dst + offset;
    for (int i = 0; i < n; i++) d[i] = to_bf16(src[i]);
    return;
  }
  for (int i = 0; i < n; i++) store_one(dst, offset + i, dtype, src[i]);
}

#endif
