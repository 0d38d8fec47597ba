// Functions of one number, free of branches so that loops over them vectorize.
#ifndef UNNOISE_FUNCTIONS_BODY_H
#define UNNOISE_FUNCTIONS_BODY_H
#include "vectors_body.h"

INLINE float bits_to_float(int32_t i) { float f; memcpy(&f, &i, 4); return f; }
INLINE int32_t float_to_bits(float f) { int32_t i; memcpy(&i, &f, 4); return i; }

// exp by reduction to 2^n·e^r, |r| ≤ ln2/2, and a Taylor polynomial of degree 6; about 1 unit in the last place.
INLINE float fast_exp(float x) {
  float clamped = x < -104.f ? -104.f : x > 89.f ? 89.f : x;
  float magic = 12582912.f;  // 1.5·2^23: adding it rounds to an integer
  float n = (clamped * 1.44269504f + magic) - magic;
  float r = clamped - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  float p = 1.f / 720;
  p = p * r + 1.f / 120;
  p = p * r + 1.f / 24;
  p = p * r + 1.f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.f;
  p = p * r + 1.f;
  int32_t k = (int32_t)n, half = k >> 1;  // two factors: 2^n alone would overflow at the ends
  float y = p * bits_to_float((half + 127) << 23) * bits_to_float((k - half + 127) << 23);
  return x != x ? x : y;
}

// erf as x·P(x²)/Q(x²), |x| ≤ 4; the minimax coefficients are Eigen's and XLA's.
INLINE float fast_erf(float x) {
  float c = x < -4.f ? -4.f : x > 4.f ? 4.f : x, z = c * c;
  float p = -2.72614225801306e-10f;
  p = p * z + 2.77068142495902e-08f;
  p = p * z + -2.10102402082508e-06f;
  p = p * z + -5.69250639462346e-05f;
  p = p * z + -7.34990630326855e-04f;
  p = p * z + -2.95459980854025e-03f;
  p = p * z + -1.60960333262415e-02f;
  float q = -1.45660718464996e-05f;
  q = q * z + -2.13374055278905e-04f;
  q = q * z + -1.68282697438203e-03f;
  q = q * z + -7.37332916720468e-03f;
  q = q * z + -1.42647390514189e-02f;
  return x != x ? x : c * p / q;
}

INLINE float fast_tanh(float x) {
  float a = x < 0 ? -x : x;
  float e = fast_exp(-2.f * a), big = (1.f - e) / (1.f + e);
  float z = x * x;  // near zero the quotient cancels: a Taylor polynomial instead
  float small = a * (1.f + z * (-1.f / 3 + z * (2.f / 15 + z * (-17.f / 315))));
  float t = a < 0.15f ? small : big;
  return x != x ? x : x < 0 ? -t : t;
}

INLINE float fast_logistic(float x) { return 1.f / (1.f + fast_exp(-x)); }
INLINE float gelu(float x) { return 0.5f * x * (1.f + fast_erf(x * 0.70710678f)); }

// The derivative of GELU, Φ(x) + x·φ(x), as ½ + x·P(x²)/Q(x²), |x| ≤ 6, by a minimax fit of our own: within 2.2e-7, as erf and exp in float32 are.
INLINE float gelu_gradient(float x) {
  float c = x < -6.f ? -6.f : x > 6.f ? 6.f : x, z = c * c;
  float p = -1.53577889e-11f;
  p = p * z + 2.78506153e-09f;
  p = p * z + -1.0087644e-07f;
  p = p * z + 3.30082551e-05f;
  p = p * z + -0.000148160524f;
  p = p * z + 0.0145299985f;
  p = p * z + -0.0415170947f;
  p = p * z + 0.79788479f;
  float q = 5.55664308e-06f;
  q = q * z + 0.000150208287f;
  q = q * z + 0.00295228657f;
  q = q * z + 0.0369718554f;
  q = q * z + 0.281301829f;
  q = q * z + 1.f;
  return x != x ? x : c * p / q + 0.5f;
}

// The C library's sqrtf sets errno, which keeps loops over it from being vectorized.
static void square_roots(float *d, const float *a, int n) {
  int i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(d + i, _mm512_sqrt_ps(_mm512_loadu_ps(a + i)));
#elif defined(__AVX2__)
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(d + i, _mm256_sqrt_ps(_mm256_loadu_ps(a + i)));
#endif
  for (; i < n; i++) d[i] = sqrtf(a[i]);
}

#endif
