// Element-wise clusters, interpreted: blocks of UN_LANES elements pass through all instructions.
#ifndef UNNOISE_ELEMENTWISE_BODY_H
#define UNNOISE_ELEMENTWISE_BODY_H
#include "functions_body.h"

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
  if (threads > 1 && !e->n_sum) threads = un_parts(blocks / 8);
  double *totals = NULL;  // [thread][sum][group][inner or 1]
  int64_t sum_width = 0, total_width = 0;
  for (int k = 0; k < e->n_sum; k++) {
    sum_width += e->sum[k].keep ? inner : 1;
    total_width += e->sum[k].keep ? rows / e->sum[k].rows * inner : 1;
  }
  if (e->n_sum) totals = calloc((size_t)(threads * total_width), sizeof(double));

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
      total = totals + me * total_width;
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
        int64_t base = 0, to = 0;
        for (int k = 0; k < e->n_sum; k++) {
          const float *v = regs[e->sum[k].reg];
          if (e->sum[k].keep && e->sum[k].rows < rows) {  // a block may have rows of several groups
            for (int r = 0; r < count; r++) {
              double *restrict own = total + to + (row + r) / e->sum[k].rows * inner + segment;
              for (int i = 0; i < width; i++) own[i] += v[r * width + i];
            }
            base += inner;
            to += rows / e->sum[k].rows * inner;
          } else if (e->sum[k].keep) {
            float *restrict acc = partial + base + segment;
            for (int r = 0; r < count; r++) for (int i = 0; i < width; i++) acc[i] += v[r * width + i];
            base += inner;
            to += inner;
          } else {
            float lanes[16] = {0};
            int i = 0;
            for (; i + 16 <= n; i += 16) for (int j = 0; j < 16; j++) lanes[j] += v[i + j];
            for (; i < n; i++) lanes[0] += v[i];
            double s = 0;
            for (int j = 0; j < 16; j++) s += lanes[j];
            total[to] += s;
            base++;
            to++;
          }
        }
        if (++since_flush == FLUSH || block + 1 == last) {
          since_flush = 0;
          base = to = 0;
          for (int k = 0; k < e->n_sum; k++) {
            if (!e->sum[k].keep) { base++; to++; continue; }
            if (e->sum[k].rows == rows) for (int64_t i = 0; i < inner; i++) { total[to + i] += partial[base + i]; partial[base + i] = 0; }
            base += inner;
            to += rows / e->sum[k].rows * inner;
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
    int64_t width = s->keep ? rows / s->rows * inner : 1;
    for (int64_t i = 0; i < width; i++) {
      double v = 0;
      for (int t = 0; t < threads; t++) v += totals[t * total_width + base + i];
      store_one(slots[s->slot], i, s->dtype, (float)v);
    }
    base += width;
  }
  free(totals);
}

#endif
