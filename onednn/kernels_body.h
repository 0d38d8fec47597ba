// Kernels in plain C that the compiler vectorises; included once for each instruction set.

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

// ---- functions: branch-free so that loops over them vectorise

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

// The C library's sqrtf sets errno, which keeps loops over it from being vectorised.
static void square_roots(float *d, const float *a, int n) {
  int i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(d + i, _mm512_sqrt_ps(_mm512_loadu_ps(a + i)));
#elif defined(__AVX2__)
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(d + i, _mm256_sqrt_ps(_mm256_loadu_ps(a + i)));
#endif
  for (; i < n; i++) d[i] = sqrtf(a[i]);
}

// ---- element-wise clusters

#define UNARY(name, expr) \
  case name: _Pragma("GCC ivdep") for (int i = 0; i < n; i++) { float x = a[i]; d[i] = (expr); } break;
#define BINARY(name, expr) \
  case name: _Pragma("GCC ivdep") for (int i = 0; i < n; i++) { float x = a[i], y = b[i]; d[i] = (expr); } break;

static void execute(const un_instr *code, float *const *regs, int n) {
  float *d = regs[code->dst];
  const float *a = regs[code->a], *b = regs[code->b], *c = regs[code->c];
  switch (code->op) {
    BINARY(UN_ADD, x + y)
    BINARY(UN_SUB, x - y)
    BINARY(UN_MUL, x * y)
    BINARY(UN_DIV, x / y)
    BINARY(UN_MAX, x != x ? x : y != y ? y : x > y ? x : y)
    BINARY(UN_MIN, x != x ? x : y != y ? y : x < y ? x : y)
    BINARY(UN_POW, powf(x, y))
    BINARY(UN_EQ, x == y ? 1.f : 0.f)
    BINARY(UN_NE, x != y ? 1.f : 0.f)
    BINARY(UN_LT, x < y ? 1.f : 0.f)
    BINARY(UN_LE, x <= y ? 1.f : 0.f)
    BINARY(UN_GT, x > y ? 1.f : 0.f)
    BINARY(UN_GE, x >= y ? 1.f : 0.f)
    BINARY(UN_AND, (x != 0) & (y != 0) ? 1.f : 0.f)
    BINARY(UN_OR, (x != 0) | (y != 0) ? 1.f : 0.f)
    BINARY(UN_XOR, (x != 0) != (y != 0) ? 1.f : 0.f)
    case UN_FMA: _Pragma("GCC ivdep") for (int i = 0; i < n; i++) d[i] = a[i] * b[i] + c[i]; break;
    case UN_WHERE: _Pragma("GCC ivdep") for (int i = 0; i < n; i++) d[i] = a[i] != 0 ? b[i] : c[i]; break;
    UNARY(UN_NEG, -x)
    UNARY(UN_ABS, x < 0 ? -x : x == 0 ? 0.f : x)
    UNARY(UN_EXP, fast_exp(x))
    UNARY(UN_EXPM1, expm1f(x))
    UNARY(UN_LOG, logf(x))
    UNARY(UN_LOG1P, log1pf(x))
    case UN_SQRT: square_roots(d, a, n); break;
    case UN_RSQRT:
      square_roots(d, a, n);
      for (int i = 0; i < n; i++) d[i] = 1.f / d[i];
      break;
    UNARY(UN_TANH, fast_tanh(x))
    UNARY(UN_ERF, fast_erf(x))
    UNARY(UN_LOGISTIC, fast_logistic(x))
    UNARY(UN_SIN, sinf(x))
    UNARY(UN_COS, cosf(x))
    UNARY(UN_FLOOR, floorf(x))
    UNARY(UN_CEIL, ceilf(x))
    UNARY(UN_ROUND, rintf(x))
    UNARY(UN_SIGN, x > 0 ? 1.f : x < 0 ? -1.f : x)
    UNARY(UN_NOT, x == 0 ? 1.f : 0.f)
    UNARY(UN_ISFINITE, (float_to_bits(x) & 0x7f800000) != 0x7f800000 ? 1.f : 0.f)
    UNARY(UN_ISNAN, x != x ? 1.f : 0.f)
    UNARY(UN_GELU, gelu(x))
    UNARY(UN_GELU_GRADIENT, gelu_gradient(x))
    UNARY(UN_ROUND_BF16, from_bf16(to_bf16(x)))
    UNARY(UN_ROUND_F16, from_f16(to_f16(x)))
  }
}

// How an input reaches its register.
enum { DIRECT, STREAM, ONCE, ROWS };

enum { FLUSH = 64 };  // blocks between two additions of a float32 sum to its float64 total

static void elementwise(const un_ew *e, void *const *slots) {
  const int nd = e->n_dims;
  const int64_t inner = e->dims[nd - 1], rows = e->total / inner;
  // A block is a number of whole rows, or a segment of one row.
  const int rows_per_block = inner >= UN_LANES ? 1 : (int)(UN_LANES / inner);
  const int64_t segments = inner >= UN_LANES ? (inner + UN_LANES - 1) / UN_LANES : 1;
  const int64_t blocks = (rows + rows_per_block - 1) / rows_per_block * segments;

  int mode[256], strided[e->n_out + 1];
  for (int k = 0; k < e->n_out; k++) {
    strided[k] = e->out[k].offset != 0;
    int64_t expect = 1;
    for (int d = nd - 1; d >= 0; d--) {
      if (e->out[k].stride[d] != expect) strided[k] = 1;
      expect *= e->dims[d];
    }
  }
  for (int k = 0; k < e->n_in; k++) {
    const un_ew_in *in = &e->in[k];
    int constant = in->slot < 0, outer_zero = in->offset == 0, contiguous = in->offset == 0;
    int64_t expect = 1;
    for (int d = nd - 1; d >= 0; d--) {
      if (d < nd - 1 && in->stride[d] != 0) outer_zero = 0;
      if (in->stride[d] != expect) contiguous = 0;
      expect *= e->dims[d];
    }
    if (constant || (outer_zero && (in->stride[nd - 1] == 0 || segments == 1))) mode[k] = ONCE;
    else if (contiguous) mode[k] = in->dtype == UN_F32 ? DIRECT : STREAM;
    else mode[k] = ROWS;
  }

  int threads = omp_get_max_threads();
  if (blocks < 8 * threads) threads = blocks >= 16 ? threads : 1;
  if (threads > blocks) threads = (int)blocks;
  double *totals = NULL;  // [sum][thread][inner or 1]
  int64_t sum_width = 0;
  for (int k = 0; k < e->n_sum; k++) sum_width += e->sum[k].keep ? inner : 1;
  if (e->n_sum) totals = calloc((size_t)(threads * sum_width), sizeof(double));

#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    const int me = omp_get_thread_num(), team = omp_get_num_threads();
    // Segments of one row stay together only for sums' sake, so whole rows are dealt out.
    const int64_t groups = blocks / segments, first = groups * me / team * segments, last = groups * (me + 1) / team * segments;
    float *storage = aligned_alloc(64, (size_t)e->n_regs * UN_LANES * sizeof(float));
    float *regs[256];
    for (int r = 0; r < e->n_regs; r++) regs[r] = storage + (size_t)r * UN_LANES;
    for (int k = 0; k < e->n_in; k++) {
      if (mode[k] != ONCE) continue;
      const un_ew_in *in = &e->in[k];
      if (in->slot < 0) { for (int i = 0; i < UN_LANES; i++) regs[k][i] = in->value; continue; }
      const int64_t s = in->stride[nd - 1];
      if (s == 0) load_run(regs[k], slots[in->slot], 0, 0, UN_LANES, in->dtype);
      else for (int r = 0; r < rows_per_block; r++) load_run(regs[k] + r * inner, slots[in->slot], 0, s, (int)inner, in->dtype);
    }
    float *partial = NULL;
    double *total = NULL;
    if (e->n_sum) {
      partial = aligned_alloc(64, (size_t)((sum_width + 15) / 16 * 64 + 64 * 16));
      memset(partial, 0, (size_t)sum_width * sizeof(float));
      total = totals + me * sum_width;
    }
    int since_flush = 0;
    for (int64_t block = first; block < last; block++) {
      int64_t row = block / segments * rows_per_block, segment = block % segments * UN_LANES;
      int count = (int)(rows - row < rows_per_block ? rows - row : rows_per_block);
      int width = (int)(inner - segment < UN_LANES ? inner - segment : UN_LANES);
      if (segments == 1) width = (int)inner;
      const int n = count * width;
      const int64_t at = row * inner + segment;
      for (int k = 0; k < e->n_in; k++) {
        const un_ew_in *in = &e->in[k];
        if (mode[k] == DIRECT) regs[k] = (float *)slots[in->slot] + at;
        else if (mode[k] == STREAM) load_run(regs[k], slots[in->slot], at, 1, n, in->dtype);
        else if (mode[k] == ROWS) {
          for (int r = 0; r < count; r++) {
            int64_t rest = row + r, offset = in->offset + segment * in->stride[nd - 1];
            for (int d = nd - 2; d >= 0; d--) { offset += rest % e->dims[d] * in->stride[d]; rest /= e->dims[d]; }
            load_run(regs[k] + r * width, slots[in->slot], offset, in->stride[nd - 1], width, in->dtype);
          }
        }
      }
      for (int i = 0; i < e->n_instr; i++) execute(&e->instr[i], regs, n);
      for (int k = 0; k < e->n_out; k++) {
        const un_ew_out *out = &e->out[k];
        if (!strided[k]) {
          store_run(slots[out->slot], at, regs[out->reg], n, out->dtype);
          continue;
        }
        for (int r = 0; r < count; r++) {
          int64_t rest = row + r, offset = out->offset + segment;
          for (int d = nd - 2; d >= 0; d--) { offset += rest % e->dims[d] * out->stride[d]; rest /= e->dims[d]; }
          store_run(slots[out->slot], offset, regs[out->reg] + r * width, width, out->dtype);
        }
      }
      if (e->n_sum) {
        int64_t base = 0;
        for (int k = 0; k < e->n_sum; k++) {
          const float *v = regs[e->sum[k].reg];
          if (e->sum[k].keep) {
            float *restrict acc = partial + base + segment;
            for (int r = 0; r < count; r++) for (int i = 0; i < width; i++) acc[i] += v[r * width + i];
            base += inner;
          } else {
            float lanes[16] = {0};
            int i = 0;
            for (; i + 16 <= n; i += 16) for (int j = 0; j < 16; j++) lanes[j] += v[i + j];
            for (; i < n; i++) lanes[0] += v[i];
            double s = 0;
            for (int j = 0; j < 16; j++) s += lanes[j];
            total[base] += s;
            base++;
          }
        }
        if (++since_flush == FLUSH || block + 1 == last) {
          since_flush = 0;
          base = 0;
          for (int k = 0; k < e->n_sum; k++) {
            if (!e->sum[k].keep) { base++; continue; }
            for (int64_t i = 0; i < inner; i++) { total[base + i] += partial[base + i]; partial[base + i] = 0; }
            base += inner;
          }
        }
      }
    }
    free(partial);
    free(storage);
  }

  int64_t base = 0;
  for (int k = 0; k < e->n_sum; k++) {
    const un_ew_sum *s = &e->sum[k];
    int64_t width = s->keep ? inner : 1;
    for (int64_t i = 0; i < width; i++) {
      double v = 0;
      for (int t = 0; t < threads; t++) v += totals[t * sum_width + base + i];
      store_one(slots[s->slot], i, s->dtype, (float)v);
    }
    base += width;
  }
  free(totals);
}

// ---- reductions

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
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
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
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
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

#include "gemm.h"

// ---- softmax

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
#pragma omp parallel for schedule(static) if (rows > 1 && rows * n >= 4096)
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

#include "winograd.h"
#include "single.h"
#include "moments.h"

const un_kernels UN_TABLE = {elementwise, moments, reduce, softmax, shares, scaled_rows, product, product_scratch, winograd, winograd_fits, winograd_scratch, single, single_scratch};
