// Conversions between float32 and the types of arrays.
#ifndef UNNOISE_CONVERT_H
#define UNNOISE_CONVERT_H
#include "native.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE float from_bf16(uint16_t v) {
  uint32_t u = (uint32_t)v << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}

INLINE uint16_t to_bf16(float f) {  // round to nearest even; NaN stays NaN
  uint32_t u;
  memcpy(&u, &f, 4);
  uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  return f != f ? (uint16_t)((u >> 16) | 0x40) : (uint16_t)rounded;
}

INLINE float from_f16(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = (uint32_t)(h & 0x7fff) << 13;
  uint32_t bits = 0x77800000;  // 2^112 rebiases the exponent, subnormals included
  float scale, f;
  memcpy(&scale, &bits, 4);
  memcpy(&f, &magnitude, 4);
  f *= scale;
  uint32_t u;
  memcpy(&u, &f, 4);
  u = (h & 0x7c00) == 0x7c00 ? magnitude | 0x7f800000 : u;
  u |= sign;
  memcpy(&f, &u, 4);
  return f;
}

INLINE uint16_t to_f16(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  uint32_t sign = (u >> 16) & 0x8000;
  u &= 0x7fffffff;
  float a;
  memcpy(&a, &u, 4);
  uint32_t out;
  if (u > 0x7f800000) out = 0x7e00;
  else if (u >= 0x477ff000) out = 0x7c00;
  else if (u < 0x38800000) {  // subnormal: adding 0.5 aligns the bits and rounds to nearest even
    float b = a + 0.5f;
    memcpy(&out, &b, 4);
    out -= 0x3f000000;
  } else out = (u - 0x38000000 + 0xfff + ((u >> 13) & 1)) >> 13;
  return (uint16_t)(out | sign);
}

INLINE float load_one(const void *p, int64_t i, int dtype) {
  switch (dtype) {
    case UN_F32: return ((const float *)p)[i];
    case UN_BF16: return from_bf16(((const uint16_t *)p)[i]);
    case UN_F16: return from_f16(((const uint16_t *)p)[i]);
    case UN_BOOL: return ((const uint8_t *)p)[i] ? 1.f : 0.f;
    default: return (float)((const int32_t *)p)[i];
  }
}

INLINE void store_one(void *p, int64_t i, int dtype, float v) {
  switch (dtype) {
    case UN_F32: ((float *)p)[i] = v; break;
    case UN_BF16: ((uint16_t *)p)[i] = to_bf16(v); break;
    case UN_F16: ((uint16_t *)p)[i] = to_f16(v); break;
    case UN_BOOL: ((uint8_t *)p)[i] = v != 0; break;
    default: ((int32_t *)p)[i] = (int32_t)v;
  }
}

INLINE int64_t size_of(int dtype) { return dtype == UN_BOOL ? 1 : dtype == UN_BF16 || dtype == UN_F16 ? 2 : 4; }

#endif
