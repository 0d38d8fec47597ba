#define _GNU_SOURCE
#include "kernels.h"
#include "convert.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

double un_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int isa_limit = 2;

#ifdef __x86_64__
static int f16c;  // asking the processor takes long in virtual machines

__attribute__((constructor)) static void ask(void) {
  unsigned a, b, c = 0, d;
  f16c = __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}
#endif

int un_isa(void) {
#ifdef __x86_64__
  const int avx2 = f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  if (isa_limit >= 2 && avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) return 2;
  if (isa_limit >= 1 && avx2) return 1;
#endif
  return 0;
}

void un_limit_isa(int level) { isa_limit = level; }

const un_kernels *un_current_kernels(void) {
#ifdef __x86_64__
  switch (un_isa()) {
    case 2: return &un_kernels_avx512;
    case 1: return &un_kernels_avx2;
  }
#endif
  return &un_kernels_portable;
}

const char *un_run(un_op *const *ops, int count, void *const *slots, double *seconds) {
  for (int i = 0; i < count; i++) {
    double start = seconds ? un_now() : 0;
    const char *error = ops[i]->run(ops[i], slots);
    if (error) return error;
    if (seconds) seconds[i] += un_now() - start;
  }
  return NULL;
}

static _Thread_local int weights_changed = 1;  // each backend has a thread

void un_weights_changed(int changed) { weights_changed = changed; }

int un_weights_are_new(void) { return weights_changed; }

void un_release(un_op *op) {
  if (op) op->release(op);
}

static void release_plain(un_op *op) { free(op); }

// ---- element-wise clusters

static const char *run_elementwise(un_op *op, void *const *slots) {
  un_current_kernels()->elementwise((const un_ew *)op, slots);
  return NULL;
}

static void *copy_of(const void *p, size_t bytes) {
  void *c = malloc(bytes ? bytes : 1);
  if (bytes) memcpy(c, p, bytes);
  return c;
}

static void release_elementwise(un_op *op) {
  un_ew *e = (un_ew *)op;
  if (e->code) munmap((void *)e->code, e->code_size);
  free(e->in);
  free(e->instr);
  free(e->out);
  free(e->sum);
  free(e);
}

un_op *un_elementwise(int n_dims, const int64_t *dims, int n_in, const un_ew_in *in, int n_instr, const un_instr *instr,
                      int n_out, const un_ew_out *out, int n_sum, const un_ew_sum *sum, int n_regs, const void *code, size_t code_size) {
  un_ew *e = calloc(1, sizeof *e);
  e->op.run = run_elementwise;
  e->op.release = release_elementwise;
  e->n_dims = n_dims;
  e->total = 1;
  for (int d = 0; d < n_dims; d++) e->total *= e->dims[d] = dims[d];
  e->n_in = n_in;
  e->n_instr = n_instr;
  e->n_out = n_out;
  e->n_sum = n_sum;
  e->n_regs = n_regs;
  e->in = copy_of(in, (size_t)n_in * sizeof *in);
  e->instr = copy_of(instr, (size_t)n_instr * sizeof *instr);
  e->out = copy_of(out, (size_t)n_out * sizeof *out);
  e->sum = copy_of(sum, (size_t)n_sum * sizeof *sum);
  if (code_size) {
    // Memory is first written, then executed, never both. Where the system forbids that, the interpreter runs.
    void *m = mmap(NULL, code_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m != MAP_FAILED) {
      memcpy(m, code, code_size);
      if (mprotect(m, code_size, PROT_READ | PROT_EXEC) == 0) {
        e->code = (void (*)(int64_t *))m;
        e->code_size = code_size;
        e->op.run = un_run_code;
      } else munmap(m, code_size);
    }
  }
  return &e->op;
}

int un_generated(const un_op *op) { return op->run == un_run_code; }

int un_rounds_bf16(void) {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return 0;
#endif
}

// ---- moments and reductions

typedef struct { un_op op; int x, dtype, mean, variance; int64_t outer, rows, channels; double *sums; } moments_op;

// Moments of x−x₀ rather than of x: the squares' sum and the mean's square do not cancel.
static const char *run_moments(un_op *op, void *const *slots) {
  const moments_op *m = (const moments_op *)op;
  const double *sum = m->sums, *square = sum + m->channels;
  for (int64_t o = 0; o < m->outer; o++) {
    const void *x = (const char *)slots[m->x] + o * m->rows * m->channels * size_of(m->dtype);
    un_current_kernels()->moments(x, m->dtype, m->rows, m->channels, m->sums);
    float *mean = (float *)slots[m->mean] + o * m->channels, *variance = (float *)slots[m->variance] + o * m->channels;
    for (int64_t i = 0; i < m->channels; i++) {
      double d = sum[i] / (double)m->rows, v = square[i] / (double)m->rows - d * d;
      mean[i] = (float)(d + load_one(x, i, m->dtype));
      variance[i] = (float)(v > 0 ? v : v != v ? v : 0);
    }
  }
  return NULL;
}

static void release_moments(un_op *op) {
  free(((moments_op *)op)->sums);
  free(op);
}

un_op *un_moments(int x, int dtype, int64_t outer, int64_t rows, int64_t channels, int mean, int variance) {
  moments_op *m = malloc(sizeof *m);
  *m = (moments_op){{run_moments, release_moments}, x, dtype, mean, variance, outer, rows, channels, calloc((size_t)(2 * channels), sizeof(double))};
  return &m->op;
}

typedef struct { un_op op; int kind, x, x_dtype, y, y_dtype; int64_t outer, mid, inner; } reduce_op;

static const char *run_reduce(un_op *op, void *const *slots) {
  const reduce_op *r = (const reduce_op *)op;
  un_current_kernels()->reduce(r->kind, slots[r->x], r->x_dtype, r->outer, r->mid, r->inner, slots[r->y], r->y_dtype);
  return NULL;
}

un_op *un_reduce(int kind, int x, int x_dtype, int64_t outer, int64_t mid, int64_t inner, int y, int y_dtype) {
  reduce_op *r = malloc(sizeof *r);
  *r = (reduce_op){{run_reduce, release_plain}, kind, x, x_dtype, y, y_dtype, outer, mid, inner};
  return &r->op;
}

// ---- softmax

typedef struct { un_op op; int x, y; int64_t rows, n; } softmax_op;

static const char *run_softmax(un_op *op, void *const *slots) {
  const softmax_op *s = (const softmax_op *)op;
  un_current_kernels()->softmax(slots[s->x], s->rows, s->n, slots[s->y]);
  return NULL;
}

un_op *un_softmax(int x, int64_t rows, int64_t n, int y) {
  softmax_op *s = malloc(sizeof *s);
  *s = (softmax_op){{run_softmax, release_plain}, x, y, rows, n};
  return &s->op;
}

// ---- movement

typedef struct {
  un_op op;
  int size, n_dims, src, dst, along;  // along: the dimension in which a transposed source is contiguous
  int64_t dims[UN_MAX_DIMS], src_stride[UN_MAX_DIMS], dst_stride[UN_MAX_DIMS], src_offset, dst_offset;
} copy_op;

#define COPY_LINE(type) \
  { const type *s = (const type *)src; type *d = (type *)dst; \
    for (int64_t i = 0; i < n; i++) d[i * ds] = s[i * ss]; } break

static void copy_line(char *dst, const char *src, int64_t n, int64_t ds, int64_t ss, int size) {
  if (ds == 1 && ss == 1) { memcpy(dst, src, (size_t)(n * size)); return; }
  switch (size) {
    case 1: COPY_LINE(uint8_t);
    case 2: COPY_LINE(uint16_t);
    case 4: COPY_LINE(uint32_t);
    default: COPY_LINE(uint64_t);
  }
}

#define COPY_TILE(type) \
  { const type *s = (const type *)src; type *d = (type *)dst; \
    for (int64_t j = 0; j < nj; j++) for (int64_t i = 0; i < ni; i++) d[j * dj + i * di] = s[j * sj + i * si]; } break

// Both arrays are walked a tile at a time where they run along different dimensions, so that cache lines are used whole.
static void copy_tile(char *dst, const char *src, int64_t nj, int64_t dj, int64_t sj, int64_t ni, int64_t di, int64_t si, int size) {
  switch (size) {
    case 1: COPY_TILE(uint8_t);
    case 2: COPY_TILE(uint16_t);
    case 4: COPY_TILE(uint32_t);
    default: COPY_TILE(uint64_t);
  }
}

enum { TILE = 32 };

static const char *run_transpose(un_op *op, void *const *slots) {
  const copy_op *c = (const copy_op *)op;
  const int last = c->n_dims - 1, along = c->along;
  char *dst = (char *)slots[c->dst] + c->dst_offset * c->size;
  const char *src = (const char *)slots[c->src] + c->src_offset * c->size;
  const int64_t across = (c->dims[along] + TILE - 1) / TILE, n = c->dims[last];
  int64_t strips = across;
  for (int k = 0; k < last; k++) if (k != along) strips *= c->dims[k];
  int threads = strips * TILE * n * c->size < 65536 ? 1 : omp_get_max_threads();
#pragma omp parallel for schedule(static) num_threads(un_parts(strips)) if (threads > 1)
  for (int64_t strip = 0; strip < strips; strip++) {
    const int64_t j = strip % across * TILE, nj = c->dims[along] - j < TILE ? c->dims[along] - j : TILE;
    int64_t rest = strip / across, s = j * c->src_stride[along], d = j * c->dst_stride[along];
    for (int k = last - 1; k >= 0; k--) {
      if (k == along) continue;
      s += rest % c->dims[k] * c->src_stride[k];
      d += rest % c->dims[k] * c->dst_stride[k];
      rest /= c->dims[k];
    }
    for (int64_t i = 0; i < n; i += TILE)
      copy_tile(dst + (d + i * c->dst_stride[last]) * c->size, src + (s + i * c->src_stride[last]) * c->size, nj, c->dst_stride[along], c->src_stride[along],
                n - i < TILE ? n - i : TILE, c->dst_stride[last], c->src_stride[last], c->size);
  }
  return NULL;
}

static const char *run_copy(un_op *op, void *const *slots) {
  const copy_op *c = (const copy_op *)op;
  const int nd = c->n_dims;
  int64_t lines = 1, inner = c->dims[nd - 1];
  for (int d = 0; d < nd - 1; d++) lines *= c->dims[d];
  char *dst = (char *)slots[c->dst] + c->dst_offset * c->size;
  const char *src = (const char *)slots[c->src] + c->src_offset * c->size;
  int threads = lines * inner * c->size < 65536 ? 1 : omp_get_max_threads();
#pragma omp parallel num_threads(un_parts(lines)) if (threads > 1)
  {
    int64_t me = omp_get_thread_num(), team = omp_get_num_threads();
    int64_t first = lines * me / team, last = lines * (me + 1) / team;
    int64_t index[UN_MAX_DIMS] = {0}, s = 0, d = 0, rest = first;
    for (int k = nd - 2; k >= 0; k--) {
      index[k] = rest % c->dims[k];
      rest /= c->dims[k];
      s += index[k] * c->src_stride[k];
      d += index[k] * c->dst_stride[k];
    }
    for (int64_t line = first; line < last; line++) {
      copy_line(dst + d * c->size, src + s * c->size, inner, c->dst_stride[nd - 1], c->src_stride[nd - 1], c->size);
      for (int k = nd - 2; k >= 0; k--) {
        s += c->src_stride[k];
        d += c->dst_stride[k];
        if (++index[k] < c->dims[k]) break;
        s -= index[k] * c->src_stride[k];
        d -= index[k] * c->dst_stride[k];
        index[k] = 0;
      }
    }
  }
  return NULL;
}

un_op *un_copy(int size, int n_dims, const int64_t *dims, int src, int64_t src_offset, const int64_t *src_stride,
               int dst, int64_t dst_offset, const int64_t *dst_stride) {
  copy_op *c = calloc(1, sizeof *c);
  c->op = (un_op){run_copy, release_plain};
  c->size = size;
  c->src = src;
  c->dst = dst;
  c->src_offset = src_offset;
  c->dst_offset = dst_offset;
  // Dimensions that lie together in both arrays become one; single ones vanish.
  int n = 0;
  for (int d = 0; d < n_dims; d++) {
    if (dims[d] == 1) continue;
    if (n && c->src_stride[n - 1] == src_stride[d] * dims[d] && c->dst_stride[n - 1] == dst_stride[d] * dims[d]) {
      c->dims[n - 1] *= dims[d];
      c->src_stride[n - 1] = src_stride[d];
      c->dst_stride[n - 1] = dst_stride[d];
      continue;
    }
    c->dims[n] = dims[d];
    c->src_stride[n] = src_stride[d];
    c->dst_stride[n] = dst_stride[d];
    n++;
  }
  if (n == 0) { c->dims[0] = 1; c->src_stride[0] = c->dst_stride[0] = 1; n = 1; }
  c->n_dims = n;
  for (int k = 0; k < n - 1; k++)
    if (c->src_stride[k] == 1 && c->src_stride[n - 1] > 1 && c->dims[k] > 1) {
      c->along = k;
      c->op.run = run_transpose;
    }
  return &c->op;
}

typedef struct { un_op op; int size, dst; int64_t count; uint64_t element; } fill_op;

static const char *run_fill(un_op *op, void *const *slots) {
  const fill_op *f = (const fill_op *)op;
  void *dst = slots[f->dst];
  switch (f->size) {
    case 1: memset(dst, (int)(f->element & 0xff), (size_t)f->count); break;
    case 2: for (int64_t i = 0; i < f->count; i++) ((uint16_t *)dst)[i] = (uint16_t)f->element; break;
    case 4: for (int64_t i = 0; i < f->count; i++) ((uint32_t *)dst)[i] = (uint32_t)f->element; break;
    default: for (int64_t i = 0; i < f->count; i++) ((uint64_t *)dst)[i] = f->element;
  }
  return NULL;
}

un_op *un_fill(int size, const void *element, int64_t count, int dst) {
  fill_op *f = malloc(sizeof *f);
  *f = (fill_op){{run_fill, release_plain}, size, dst, count, 0};
  memcpy(&f->element, element, (size_t)size);
  return &f->op;
}
