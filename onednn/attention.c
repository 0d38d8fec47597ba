// Attention in bfloat16 without a matrix of all scores: a few queries at a time meet all keys, and their scores stay in the
// second-level cache. Sums are float32.
#include "kernels.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#ifdef __x86_64__
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,prefer-vector-width=512")
#include <immintrin.h>

// A product of ROWS rows and COLUMNS columns fills the registers with its sums.
enum { ROWS = 6, COLUMNS = 64 };

typedef struct {
  un_op op;
  int q, k, v, y, scratch, threads;
  int64_t batch, queries, keys, heads, dim;
  float scale;
} attention_op;

static int64_t rounded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Sizes in scratch. Keys and values of a head stand as panels of COLUMNS columns, each a list of rows of pairs along the
// product's depth, which is what the processor multiplies at once; what fills them up is zero.
static int64_t key_bytes(const attention_op *o) { return rounded(o->keys, COLUMNS) * o->dim * 2; }
static int64_t value_bytes(const attention_op *o) { return rounded(o->keys, 2) * rounded(o->dim, COLUMNS) * 2; }
static int64_t thread_bytes(const attention_op *o) { return ROWS * (rounded(o->keys, COLUMNS) * 6 + COLUMNS * 4); }

static void pack_keys(const attention_op *o, const uint16_t *k, uint32_t *to) {
  for (int64_t key = 0, all = rounded(o->keys, COLUMNS); key < all; key++) {
    uint32_t *column = to + key / COLUMNS * COLUMNS * (o->dim / 2) + key % COLUMNS;
    for (int64_t i = 0; i < o->dim / 2; i++) {
      uint32_t pair = 0;
      if (key < o->keys) memcpy(&pair, k + key * o->heads * o->dim + 2 * i, 4);
      column[i * COLUMNS] = pair;
    }
  }
}

static void pack_values(const attention_op *o, const uint16_t *v, uint32_t *to) {
  const int64_t pairs = rounded(o->keys, 2) / 2, stride = o->heads * o->dim;
  for (int64_t i = 0; i < pairs; i++) {
    const uint16_t *row = v + 2 * i * stride;
    const int second = 2 * i + 1 < o->keys;
    for (int64_t d = 0, all = rounded(o->dim, COLUMNS); d < all; d++)
      to[d / COLUMNS * COLUMNS * pairs + i * COLUMNS + d % COLUMNS] =
          d < o->dim ? row[d] | (second ? (uint32_t)row[stride + d] << 16 : 0) : 0;
  }
}

// c[ROWS][COLUMNS] = a·b, with rows a[r] and a panel b of so many pairs.
static void multiply(const uint16_t *const *a, const uint32_t *b, int64_t pairs, float *c, int64_t c_stride) {
  __m512 sum[ROWS][COLUMNS / 16];
  for (int r = 0; r < ROWS; r++) for (int j = 0; j < COLUMNS / 16; j++) sum[r][j] = _mm512_setzero_ps();
  for (int64_t i = 0; i < pairs; i++, b += COLUMNS) {
    __m512bh column[COLUMNS / 16];
    for (int j = 0; j < COLUMNS / 16; j++) column[j] = (__m512bh)_mm512_loadu_si512(b + 16 * j);
    for (int r = 0; r < ROWS; r++) {
      int pair;
      memcpy(&pair, a[r] + 2 * i, 4);
      const __m512bh row = (__m512bh)_mm512_set1_epi32(pair);
      for (int j = 0; j < COLUMNS / 16; j++) sum[r][j] = _mm512_dpbf16_ps(sum[r][j], row, column[j]);
    }
  }
  for (int r = 0; r < ROWS; r++) for (int j = 0; j < COLUMNS / 16; j++) _mm512_storeu_ps(c + r * c_stride + 16 * j, sum[r][j]);
}

// 2^x for x ≤ 0, to 2·10⁻⁷: a polynomial on [-½,½] (Taylor's), and the exponent.
static __m512 power_of_2(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = _mm512_sub_ps(x, whole);
  __m512 p = _mm512_set1_ps(1.5403530e-4f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.3333558e-3f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.6181291e-3f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5504109e-2f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022651e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314718e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1));
  return _mm512_scalef_ps(p, whole);
}

// p = exp(scale·s − its maximum) in bfloat16, and 0 from n to the next multiple of 16; returns the sum.
static float exponentials(const float *s, int64_t n, float scale, uint16_t *p) {
  const __m512 factor = _mm512_set1_ps(scale * 1.44269504f);
  __m512 most = _mm512_set1_ps(-__builtin_inff()), sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 in = n - i >= 16 ? 0xffff : (__mmask16)((1 << (n - i)) - 1);
    most = _mm512_mask_max_ps(most, in, most, _mm512_mul_ps(_mm512_loadu_ps(s + i), factor));
  }
  most = _mm512_set1_ps(_mm512_reduce_max_ps(most));
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 in = n - i >= 16 ? 0xffff : (__mmask16)((1 << (n - i)) - 1);
    const __m512 e = _mm512_maskz_mov_ps(in, power_of_2(_mm512_fmsub_ps(_mm512_loadu_ps(s + i), factor, most)));
    sum = _mm512_add_ps(sum, e);
    _mm256_storeu_si256((__m256i *)(p + i), (__m256i)_mm512_cvtneps_pbh(e));
  }
  return _mm512_reduce_add_ps(sum);
}

// Rows of queries of one head; scratch is the thread's.
static void attend(const attention_op *o, const uint16_t *q, int rows, const uint32_t *keys, const uint32_t *values, uint16_t *y, char *scratch) {
  const int64_t width = rounded(o->keys, COLUMNS), stride = o->heads * o->dim, pairs = rounded(o->keys, 2) / 2;
  float *scores = (float *)scratch, *sums = scores + ROWS * width;
  uint16_t *shares = (uint16_t *)(sums + ROWS * COLUMNS);
  const uint16_t *a[ROWS], *share[ROWS];
  float factor[ROWS];
  for (int r = 0; r < ROWS; r++) a[r] = q + (r < rows ? r : 0) * stride;
  for (int64_t j = 0; j < width; j += COLUMNS) multiply(a, keys + j * (o->dim / 2), o->dim / 2, scores + j, width);
  for (int r = 0; r < ROWS; r++) {
    share[r] = shares + r * width;
    factor[r] = r < rows ? 1 / exponentials(scores + r * width, o->keys, o->scale, shares + r * width) : 0;
  }
  for (int r = rows; r < ROWS; r++) share[r] = share[0];
  for (int64_t d = 0; d < o->dim; d += COLUMNS) {
    multiply(share, values + d * pairs, pairs, sums, COLUMNS);
    for (int r = 0; r < rows; r++)
      for (int64_t j = 0; j < COLUMNS && d + j < o->dim; j += 16) {
        const int64_t left = o->dim - d - j;
        const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(sums + r * COLUMNS + j), _mm512_set1_ps(factor[r]));
        _mm256_mask_storeu_epi16(y + r * stride + d + j, left >= 16 ? 0xffff : (__mmask16)((1 << left) - 1), (__m256i)_mm512_cvtneps_pbh(v));
      }
  }
}

static const char *run_attention(un_op *op, void *const *slots) {
  const attention_op *o = (const attention_op *)op;
  const uint16_t *q = slots[o->q], *k = slots[o->k], *v = slots[o->v];
  uint16_t *y = slots[o->y];
  char *keys = slots[o->scratch], *values = keys + o->batch * o->heads * key_bytes(o), *own = values + o->batch * o->heads * value_bytes(o);
  const int64_t blocks = (o->queries + ROWS - 1) / ROWS, heads = o->batch * o->heads;
#pragma omp parallel for schedule(static) num_threads(o->threads)
  for (int64_t h = 0; h < heads; h++) {
    const int64_t at = (h / o->heads * o->keys * o->heads + h % o->heads) * o->dim;
    pack_keys(o, k + at, (uint32_t *)(keys + h * key_bytes(o)));
    pack_values(o, v + at, (uint32_t *)(values + h * value_bytes(o)));
  }
#pragma omp parallel for schedule(static) num_threads(o->threads)
  for (int64_t i = 0; i < heads * blocks; i++) {
    const int64_t h = i / blocks, first = i % blocks * ROWS;
    const int64_t at = ((h / o->heads * o->queries + first) * o->heads + h % o->heads) * o->dim;
    attend(o, q + at, (int)(o->queries - first < ROWS ? o->queries - first : ROWS), (const uint32_t *)(keys + h * key_bytes(o)),
           (const uint32_t *)(values + h * value_bytes(o)), y + at, own + omp_get_thread_num() * rounded(thread_bytes(o), 64));
  }
  return NULL;
}

static void release_attention(un_op *op) { free(op); }

un_op *un_attention(int q, int k, int v, int y, int64_t batch, int64_t queries, int64_t keys, int64_t heads, int64_t dim, float scale, int scratch,
                    size_t *scratch_bytes) {
  attention_op *o = malloc(sizeof *o);
  *o = (attention_op){{run_attention, release_attention}, q, k, v, y, scratch, omp_get_max_threads(), batch, queries, keys, heads, dim, scale};
  *scratch_bytes = (size_t)(batch * heads * (key_bytes(o) + value_bytes(o)) + o->threads * rounded(thread_bytes(o), 64));
  return &o->op;
}
#else
un_op *un_attention(int q, int k, int v, int y, int64_t batch, int64_t queries, int64_t keys, int64_t heads, int64_t dim, float scale, int scratch,
                    size_t *scratch_bytes) {
  return NULL;
}
#endif
