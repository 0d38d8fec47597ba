// Blocked products: operands are packed, block by block, into panels that stay in the caches, and a small tile of the
// result is held in registers. Convolutions differ from matrices only in how pixels are gathered while packing, so the
// matrix of patches is never in memory as a whole.
//
// The structure is that of K. Goto, R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34
// (2008).
#ifndef UNNOISE_GEMM_BODY_H
#define UNNOISE_GEMM_BODY_H
#include "vectors_body.h"

#if defined(__AVX512F__) || defined(__aarch64__)
enum { TILE_ROWS = 8 };
#else
enum { TILE_ROWS = 6 };
#endif

enum {
  TILE_COLUMNS = 2 * LANES,
  DEPTH = 256,          // of packed blocks, the summed dimension
  ROW_BLOCK = 96,       // pixels whose patches are packed at once; a multiple of every TILE_ROWS
  COLUMN_BLOCK = 512,   // of y
  PATCH_BLOCK = 256,    // columns of patches packed at once for gradients
  FEW = 4,              // so many outputs or fewer are computed as scalar products
};

// ---- packing

// Where a run of pixels lie.
typedef struct { int64_t position[3][DEPTH], x[DEPTH], y[DEPTH], from[DEPTH]; } pixels;

static void locate(const un_product *p, int64_t first, int count, pixels *at) {
  int64_t q[3], rest = first;
  for (int d = 2; d >= 0; d--) { q[d] = rest % p->grid[d]; rest /= p->grid[d]; }
  for (int i = 0; i < count; i++) {
    int64_t x = p->x_offset + rest * p->x_batch, y = p->y_offset + rest * p->y_batch;
    for (int d = 0; d < 3; d++) {
      at->position[d][i] = q[d] * p->step[d];
      x += q[d] * p->x_grid[d];
      y += q[d] * p->y_grid[d];
    }
    at->x[i] = x;
    at->y[i] = y;
    for (int d = 2; d >= 0; d--) {
      if (++q[d] < p->grid[d]) break;
      q[d] = 0;
      if (d == 0) rest++;
    }
  }
}

// Sets at->from to the offsets that a tap looks at; −1 outside.
static void look(const un_product *p, const un_tap *t, int64_t offset, int count, pixels *restrict at) {
  const uint64_t s0 = (uint64_t)p->size[0], s1 = (uint64_t)p->size[1], s2 = (uint64_t)p->size[2];
#pragma GCC ivdep
  for (int i = 0; i < count; i++) {
    int inside = ((uint64_t)(at->position[0][i] + t->position[0]) < s0) & ((uint64_t)(at->position[1][i] + t->position[1]) < s1) &
                 ((uint64_t)(at->position[2][i] + t->position[2]) < s2);
    at->from[i] = inside ? at->x[i] + t->x + offset : -1;
  }
}

enum { MOST_CHANNELS = 2 * DEPTH };  // that winograd_body.h takes of a pixel

static const float zeros[MOST_CHANNELS] __attribute__((aligned(64)));

INLINE void copy_runs(float *restrict dst, int64_t step, const float *x, const int64_t *from, int count, int n) {
  for (int i = 0; i < count; i++, dst += step) {
    const float *v = from[i] < 0 ? zeros : x + from[i];
    int j = 0;
    for (; j + LANES <= n; j += LANES) {
      *(lanes *)(dst + j) = *(const lanes *)(v + j);
      __asm__("" : "+r"(j));  // or the loop becomes a call of memcpy
    }
    for (; j < n; j++) {
      dst[j] = v[j];
      __asm__("" : "+r"(j));
    }
  }
}

// dst[i·step + j] = x[from[i] + add + j·stride] for j < n; zero where from is negative.
static void gather(float *restrict dst, int64_t step, const void *x, int dtype, const int64_t *from, int64_t add, int64_t stride, int count, int n) {
  if (dtype == UN_F32 && n > 1 && stride == 1) {
    const float *s = (const float *)x + add;
    if (n == TILE_COLUMNS) copy_runs(dst, step, s, from, count, TILE_COLUMNS);
    else if (n == TILE_ROWS)
      for (int i = 0; i < count; i++) {
        const float *v = from[i] < 0 ? zeros : s + from[i];
        for (int j = 0; j < TILE_ROWS; j++) dst[i * step + j] = v[j];
      }
    else if (n == 64) copy_runs(dst, step, s, from, count, 64);
    else copy_runs(dst, step, s, from, count, n);
    return;
  }
  if (n > 1 && stride == 1) {
    for (int i = 0; i < count; i++) {
      if (from[i] < 0) memset(dst + i * step, 0, (size_t)n * sizeof(float));
      else load_run(dst + i * step, x, from[i] + add, 1, n, dtype);
    }
    return;
  }
  for (int j = 0; j < n; j++, add += stride) {  // neighbouring pixels may well lie together
    if (dtype == UN_F32) for (int i = 0; i < count; i++) dst[i * step + j] = from[i] < 0 ? 0 : ((const float *)x)[from[i] + add];
    else for (int i = 0; i < count; i++) dst[i * step + j] = from[i] < 0 ? 0 : load_one(x, from[i] + add, dtype);
  }
}

// Columns [k0,k1) of the patches of count pixels as rows of DEPTH; those from count to padded are zero.
static void pack_rows(const un_product *p, const void *x, int64_t group, pixels *at, int count, int padded, int64_t k0, int64_t k1, float *a) {
  for (int64_t k = k0; k < k1;) {
    const int64_t c = k % p->in;
    const int n = (int)least(p->in - c, k1 - k);
    look(p, &p->taps[k / p->in], group * p->x_group, count, at);
    for (int i = count; i < padded; i++) at->from[i] = -1;
    gather(a + (k - k0), DEPTH, x, p->x_dtype, at->from, c * p->x_channel, p->x_channel, padded, n);
    k += n;
  }
}

// The same as panels [row / TILE_ROWS][column][TILE_ROWS], where channels are few or lie apart and pixels together.
static void pack_across(const un_product *p, const void *x, int64_t group, pixels *at, int count, int padded, int64_t k0, int64_t k1, float *a) {
  const int64_t panel = (k1 - k0) * TILE_ROWS;
  for (int64_t k = k0; k < k1; k++, a += TILE_ROWS) {
    if (k == k0 || k % p->in == 0) {
      look(p, &p->taps[k / p->in], group * p->x_group, count, at);
      for (int i = count; i < padded; i++) at->from[i] = -1;
    }
    const int64_t add = k % p->in * p->x_channel;
    float *to = a;
    if (p->x_dtype == UN_F32) {
      const float *s = (const float *)x + add;
      for (int i = 0; i < padded; i += TILE_ROWS, to += panel)
        for (int j = 0; j < TILE_ROWS; j++) to[j] = *(at->from[i + j] < 0 ? zeros : s + at->from[i + j]);
    } else
      for (int i = 0; i < padded; i += TILE_ROWS, to += panel)
        for (int j = 0; j < TILE_ROWS; j++) to[j] = at->from[i + j] < 0 ? 0 : load_one(x, at->from[i + j] + add, p->x_dtype);
  }
}

// Columns [k0,k1) of the patches of count pixels as panels [column / TILE_COLUMNS][pixel][TILE_COLUMNS].
static void pack_columns(const un_product *p, const void *x, int64_t group, pixels *at, int count, int64_t k0, int64_t k1, float *b) {
  const int64_t end = least(k1, p->n_taps * p->in), panel = (int64_t)count * TILE_COLUMNS;
  for (int64_t k = k0; k < end;) {
    const int64_t stop = least(end, (k / p->in + 1) * p->in);
    look(p, &p->taps[k / p->in], group * p->x_group, count, at);
    while (k < stop) {
      const int column = (int)((k - k0) % TILE_COLUMNS), n = (int)least(TILE_COLUMNS - column, stop - k);
      gather(b + (k - k0) / TILE_COLUMNS * panel + column, TILE_COLUMNS, x, p->x_dtype, at->from, k % p->in * p->x_channel, p->x_channel, count, n);
      k += n;
    }
  }
  const int used = (int)((end - k0) % TILE_COLUMNS);
  if (used) {
    float *last = b + (end - k0) / TILE_COLUMNS * panel;
    for (int i = 0; i < count; i++) for (int j = used; j < TILE_COLUMNS; j++) last[i * TILE_COLUMNS + j] = 0;
  }
}

// y of count pixels as panels [output / TILE_ROWS][pixel][TILE_ROWS].
static void pack_outputs(const un_product *p, const void *y, int64_t group, const pixels *at, int count, float *a) {
  for (int64_t o = 0; o < p->out; o += TILE_ROWS, a += (int64_t)count * TILE_ROWS) {
    const int n = (int)least(TILE_ROWS, p->out - o);
    gather(a, TILE_ROWS, y, p->y_dtype, at->y, group * p->y_group + o * p->y_channel, p->y_channel, count, n);
    if (n < TILE_ROWS) for (int i = 0; i < count; i++) for (int j = n; j < TILE_ROWS; j++) a[i * TILE_ROWS + j] = 0;
  }
}

// One panel of the weights, outputs [o, o + TILE_COLUMNS), as [tap, in][TILE_COLUMNS].
static void pack_weights(const un_product *p, const void *w, int64_t group, int64_t o, float *b) {
  const int n = (int)least(TILE_COLUMNS, p->out - o);
  for (int t = 0; t < p->n_taps; t++, b += p->in * TILE_COLUMNS) {
    const int64_t at = p->w_offset + group * p->w_group + p->taps[t].w + o * p->w_out;
    if (n < TILE_COLUMNS) memset(b, 0, (size_t)(p->in * TILE_COLUMNS) * sizeof(float));
    if (p->w_out != 1 && p->w_in == 1)
      for (int j = 0; j < n; j++) for (int64_t i = 0; i < p->in; i++) b[i * TILE_COLUMNS + j] = load_one(w, at + i + j * p->w_out, p->w_dtype);
    else
      for (int64_t i = 0; i < p->in; i++) load_run(b + i * TILE_COLUMNS, w, at + i * p->w_in, p->w_out, n, p->w_dtype);
  }
}

// ---- tiles

// c[TILE_ROWS][TILE_COLUMNS] = a·b, or += where add is set; a's rows and columns are a_row and a_k apart.
INLINE void tile(const float *restrict a, int64_t a_row, int64_t a_k, const float *restrict b, int64_t depth, float *restrict c, int64_t c_row, int add) {
  lanes sum[TILE_ROWS][2];
#pragma GCC unroll 8
  for (int i = 0; i < TILE_ROWS; i++) sum[i][0] = sum[i][1] = (lanes){0};
  for (int64_t k = 0; k < depth; k++) {
    const lanes b0 = *(const lanes *)(b + k * TILE_COLUMNS), b1 = *(const lanes *)(b + k * TILE_COLUMNS + LANES);
#pragma GCC unroll 8
    for (int i = 0; i < TILE_ROWS; i++) {
      const float v = a[i * a_row + k * a_k];
      sum[i][0] += v * b0;
      sum[i][1] += v * b1;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < TILE_ROWS; i++) {
    for (int j = 0; j < 2; j++) {
      lanes *to = (lanes *)(c + i * c_row + j * LANES);
      if (add) sum[i][j] += *to;
      *to = sum[i][j];
    }
  }
}

static __attribute__((noinline)) void tile_of_rows(const float *a, const float *b, int64_t depth, float *c, int64_t c_row, int add) {
  tile(a, DEPTH, 1, b, depth, c, c_row, add);
}

static __attribute__((noinline)) void tile_of_columns(const float *a, const float *b, int64_t depth, float *c, int64_t c_row, int add) {
  tile(a, 1, TILE_ROWS, b, depth, c, c_row, add);
}

// ---- y from x and w

// How the summed dimension is cut: at taps where channels are few enough, so that runs of channels stay whole.
typedef struct { int64_t total, unit, blocks; } cuts;

static cuts cut(const un_product *p) {
  cuts c = {p->n_taps * p->in, p->in, 0};
  if (c.unit > DEPTH) c.unit = LANES;
  c.blocks = parts_of(parts_of(c.total, c.unit), DEPTH / c.unit);
  return c;
}

INLINE int64_t cut_at(const cuts *c, int64_t block) {
  return least(c->total, parts_of(c->total, c->unit) * block / c->blocks * c->unit);
}

// How the work is dealt out, and the scratch memory it takes, in floats.
typedef struct {
  int threads, alone;  // alone: every thread computes whole groups
  int64_t pixels, row_block, column_block;
  int64_t slices, columns;  // gradients: of pixels, of columns of patches
  int64_t packed, own;  // packed weights (for each thread where alone); for each thread
} split;

static split split_outputs(const un_product *p, int threads) {
  split s = {.pixels = p->batch * p->grid[0] * p->grid[1] * p->grid[2]};
  const cuts k = cut(p);
  s.threads = p->groups * s.pixels * p->out * (k.total + 1) < 65536 ? 1 : threads;
  s.alone = p->groups > 1 && p->groups >= s.threads;
  const int64_t team = s.alone ? 1 : s.threads;
  s.row_block = least(ROW_BLOCK, up_to(parts_of(s.pixels, team), TILE_ROWS));
  s.column_block = least(COLUMN_BLOCK, up_to(p->out, TILE_COLUMNS));
  const int64_t blocks = parts_of(s.pixels, s.row_block);
  if (blocks < team) s.column_block = least(s.column_block, up_to(parts_of(p->out, parts_of(team, blocks)), TILE_COLUMNS));
  if (p->out <= FEW) {
    s.column_block = FEW;
    s.packed = FEW * k.blocks * DEPTH;
    s.own = ROW_BLOCK * DEPTH + ROW_BLOCK * FEW * LANES;
  } else {
    s.packed = k.total * up_to(p->out, TILE_COLUMNS);
    s.own = ROW_BLOCK * DEPTH + ROW_BLOCK * s.column_block;
  }
  s.packed = up_to(s.packed, 16);
  return s;
}

// One block of y from values v, bias added.
static void store_block(const un_product *p, void *const *slots, int64_t group, const pixels *at, int rows, int64_t o, int columns, float *v, int64_t v_row) {
  float bias[COLUMN_BLOCK];
  if (p->bias >= 0) load_run(bias, slots[p->bias], group * p->out + o, 1, columns, p->bias_dtype);
  for (int i = 0; i < rows; i++, v += v_row) {
    if (p->bias >= 0) for (int j = 0; j < columns; j++) v[j] += bias[j];
    const int64_t to = at->y[i] + group * p->y_group + o * p->y_channel;
    if (p->y_channel == 1) store_run(slots[p->y], to, v, columns, p->y_dtype);
    else for (int j = 0; j < columns; j++) store_one(slots[p->y], to + j * p->y_channel, p->y_dtype, v[j]);
  }
}

static void block_of_outputs(const un_product *p, const split *s, void *const *slots, int64_t group, const float *packed, int64_t row, int64_t column, float *own) {
  pixels at;
  const cuts k = cut(p);
  const int rows = (int)least(s->row_block, s->pixels - row), padded = (int)up_to(rows, TILE_ROWS);
  const int64_t columns = least(s->column_block, p->out - column), width = up_to(columns, TILE_COLUMNS);
  const int across = p->in < 4 || p->x_channel != 1;
  float *a = own, *c = own + ROW_BLOCK * DEPTH;
  locate(p, row, rows, &at);
  if (!k.blocks) memset(c, 0, (size_t)(padded * width) * sizeof(float));
  for (int64_t block = 0; block < k.blocks; block++) {
    const int64_t k0 = cut_at(&k, block), k1 = cut_at(&k, block + 1);
    (across ? pack_across : pack_rows)(p, slots[p->x], group, &at, rows, padded, k0, k1, a);
    for (int64_t j = 0; j < width; j += TILE_COLUMNS)
      for (int i = 0; i < padded; i += TILE_ROWS) {
        const float *b = packed + (column + j) * k.total + k0 * TILE_COLUMNS;
        if (across) tile_of_columns(a + i * (k1 - k0), b, k1 - k0, c + i * width + j, width, block > 0);
        else tile_of_rows(a + i * DEPTH, b, k1 - k0, c + i * width + j, width, block > 0);
      }
  }
  store_block(p, slots, group, &at, rows, column, (int)columns, c, width);
}

// The same for few outputs: a scalar product for each, over vectors along the summed dimension.
static void block_of_few(const un_product *p, const split *s, void *const *slots, int64_t group, const float *packed, int64_t row, float *own) {
  pixels at;
  const cuts k = cut(p);
  const int rows = (int)least(s->row_block, s->pixels - row), out = (int)p->out;
  float *a = own, *c = own + ROW_BLOCK * DEPTH;
  locate(p, row, rows, &at);
  memset(c, 0, (size_t)(rows * FEW * LANES) * sizeof(float));
  for (int64_t block = 0; block < k.blocks; block++) {
    const int64_t k0 = cut_at(&k, block), k1 = cut_at(&k, block + 1), depth = up_to(k1 - k0, LANES);
    pack_rows(p, slots[p->x], group, &at, rows, rows, k0, k1, a);
    for (int i = 0; i < rows; i++) {
      for (int64_t j = k1 - k0; j < depth; j++) a[i * DEPTH + j] = 0;
      for (int o = 0; o < out; o++) {
        const float *u = a + i * DEPTH, *w = packed + (o * k.blocks + block) * DEPTH;
        lanes even = {0}, odd = {0};
        int64_t j = 0;
        for (; j + 2 * LANES <= depth; j += 2 * LANES) {
          even += *(const lanes *)(u + j) * *(const lanes *)(w + j);
          odd += *(const lanes *)(u + j + LANES) * *(const lanes *)(w + j + LANES);
        }
        if (j < depth) even += *(const lanes *)(u + j) * *(const lanes *)(w + j);
        *(lanes *)(c + (i * FEW + o) * LANES) += even + odd;
      }
    }
  }
  for (int i = 0; i < rows; i++) {
    float *v = c + i * FEW * LANES;
    for (int o = 0; o < out; o++) {
      float *u = v + o * LANES;
      for (int half = LANES / 2; half > 0; half /= 2) for (int j = 0; j < half; j++) u[j] += u[j + half];
      v[o] = u[0];
    }
  }
  store_block(p, slots, group, &at, rows, 0, out, c, FEW * LANES);
}

// Weights for block_of_few: [output][block][DEPTH], zero beyond each block's end.
static void pack_few(const un_product *p, const void *w, int64_t group, float *b) {
  const cuts k = cut(p);
  memset(b, 0, (size_t)(FEW * k.blocks * DEPTH) * sizeof(float));
  for (int64_t o = 0; o < p->out; o++)
    for (int64_t block = 0; block < k.blocks; block++)
      for (int64_t i = cut_at(&k, block), j = 0; i < cut_at(&k, block + 1); i++, j++)
        b[(o * k.blocks + block) * DEPTH + j] =
            load_one(w, p->w_offset + group * p->w_group + p->taps[i / p->in].w + i % p->in * p->w_in + o * p->w_out, p->w_dtype);
}

static void outputs(const un_product *p, void *const *slots, float *scratch, int threads) {
  const split s = split_outputs(p, threads);
  const int few = p->out <= FEW;
  const int64_t panels = few ? 1 : parts_of(p->out, TILE_COLUMNS), depth = p->n_taps * p->in;
  const int64_t column_blocks = parts_of(p->out, s.column_block), blocks = parts_of(s.pixels, s.row_block) * column_blocks;
#define PACK(group, panel, to) \
  if (few) pack_few(p, slots[p->w], group, to); \
  else pack_weights(p, slots[p->w], group, (panel) * TILE_COLUMNS, (to) + (panel) * depth * TILE_COLUMNS)
#define BLOCK(group, block, packed, own) \
  if (few) block_of_few(p, &s, slots, group, packed, (block) * s.row_block, own); \
  else block_of_outputs(p, &s, slots, group, packed, (block) / column_blocks * s.row_block, (block) % column_blocks * s.column_block, own)
  if (s.alone) {
#pragma omp parallel for schedule(static) num_threads(un_parts(p->groups)) if (s.threads > 1)
    for (int64_t g = 0; g < p->groups; g++) {
      float *packed = scratch + un_worker() * (s.packed + s.own), *own = packed + s.packed;
      for (int64_t i = 0; i < panels; i++) { PACK(g, i, packed); }
      for (int64_t i = 0; i < blocks; i++) { BLOCK(g, i, packed, own); }
    }
    return;
  }
  for (int64_t g = 0; g < p->groups; g++) {
    const int packers = depth * p->out < 16384 ? 1 : s.threads;
#pragma omp parallel for schedule(static) num_threads(un_parts(panels)) if (packers > 1)
    for (int64_t i = 0; i < panels; i++) { PACK(g, i, scratch); }
#pragma omp parallel for schedule(static) num_threads(un_parts(blocks)) if (s.threads > 1)
    for (int64_t i = 0; i < blocks; i++) { BLOCK(g, i, scratch, scratch + s.packed + un_worker() * s.own); }
  }
#undef PACK
#undef BLOCK
}

// ---- w and bias from x and y

// The gradient is summed as [output][tap, in]. Threads share the columns; where those are few, pixels too, and each
// slice of pixels has a sum of its own.
static split split_gradient(const un_product *p, int threads) {
  split s = {.pixels = p->batch * p->grid[0] * p->grid[1] * p->grid[2]};
  const int64_t panels = parts_of(p->n_taps * p->in, TILE_COLUMNS);
  if (p->groups * s.pixels * p->out * p->n_taps * p->in < 65536) threads = 1;
  s.columns = least(threads, parts_of(panels, 4));
  s.slices = least(threads / s.columns, parts_of(s.pixels, DEPTH));
  s.threads = (int)(s.columns * s.slices);
  s.packed = up_to(p->out, TILE_ROWS) * (panels * TILE_COLUMNS + 2);  // with the bias' sums, float64
  s.packed = up_to(s.packed, 16);
  s.own = up_to(DEPTH * up_to(p->out, TILE_ROWS), 16) + DEPTH * PATCH_BLOCK;
  return s;
}

static void gradient(const un_product *p, void *const *slots, float *scratch, int threads) {
  const split s = split_gradient(p, threads);
  const int64_t total = p->n_taps * p->in, panels = parts_of(total, TILE_COLUMNS), width = panels * TILE_COLUMNS;
  const int64_t height = up_to(p->out, TILE_ROWS);
  for (int64_t g = 0; g < p->groups; g++) {
#pragma omp parallel for schedule(static, 1) num_threads(s.threads) if (s.threads > 1)
    for (int64_t part = 0; part < s.slices * s.columns; part++) {
      pixels at;
      const int64_t slice = part / s.columns, column = part % s.columns;
      const int64_t first = s.pixels * slice / s.slices, last = s.pixels * (slice + 1) / s.slices;
      const int64_t left = panels * column / s.columns * TILE_COLUMNS, right = panels * (column + 1) / s.columns * TILE_COLUMNS;
      float *sum = scratch + slice * s.packed, *a = scratch + s.slices * s.packed + part * s.own, *b = a + up_to(DEPTH * height, 16);
      double *bias = (double *)(sum + height * width);
      if (column == 0) memset(bias, 0, (size_t)height * sizeof(double));
      for (int64_t row = first; row < last; row += DEPTH) {
        const int count = (int)least(DEPTH, last - row);
        locate(p, row, count, &at);
        pack_outputs(p, slots[p->y], g, &at, count, a);
        if (p->bias >= 0 && column == 0)
          for (int64_t o = 0; o < height; o++) {
            float v = 0;
            for (int i = 0; i < count; i++) v += a[o / TILE_ROWS * TILE_ROWS * count + i * TILE_ROWS + o % TILE_ROWS];
            bias[o] += v;
          }
        for (int64_t k = left; k < right; k += PATCH_BLOCK) {
          const int64_t end = least(right, k + PATCH_BLOCK);
          pack_columns(p, slots[p->x], g, &at, count, k, end, b);
          for (int64_t j = k; j < end; j += TILE_COLUMNS)
            for (int64_t o = 0; o < height; o += TILE_ROWS)
              tile_of_columns(a + o * count, b + (j - k) * count, count, sum + o * width + j, width, row > first);
        }
      }
    }
    const int64_t work = total * p->out * s.slices;
#pragma omp parallel for schedule(static) num_threads(un_parts(parts_of(total, 16))) if (s.threads > 1 && work > 32768)
    for (int64_t k0 = 0; k0 < total; k0 += 16) {  // a line of the sums' memory
      const int n = (int)least(16, total - k0);
      int64_t to[16];
      for (int j = 0; j < n; j++) to[j] = p->w_offset + g * p->w_group + p->taps[(k0 + j) / p->in].w + (k0 + j) % p->in * p->w_in;
      for (int64_t o = 0; o < p->out; o++) {
        float v[16] = {0};
        for (int64_t i = 0; i < s.slices; i++) for (int j = 0; j < n; j++) v[j] += scratch[i * s.packed + o * width + k0 + j];
        for (int j = 0; j < n; j++) store_one(slots[p->w], to[j] + o * p->w_out, p->w_dtype, v[j]);
      }
    }
    if (p->bias >= 0)
      for (int64_t o = 0; o < p->out; o++) {
        double v = 0;
        for (int64_t i = 0; i < s.slices; i++) v += ((double *)(scratch + i * s.packed + height * width))[o];
        store_one(slots[p->bias], g * p->out + o, p->bias_dtype, (float)v);
      }
  }
}

static void product(const un_product *p, void *const *slots, void *scratch, int threads) {
  if (p->gradient) gradient(p, slots, scratch, threads);
  else outputs(p, slots, scratch, threads);
}

// Bytes of scratch memory that product needs.
static size_t product_scratch(const un_product *p, int threads) {
  split s = p->gradient ? split_gradient(p, threads) : split_outputs(p, threads);
  int64_t copies = p->gradient ? s.slices : s.alone ? s.threads : 1;
  return (size_t)(copies * s.packed + s.threads * s.own) * sizeof(float);
}

#endif
