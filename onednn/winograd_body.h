// Winograd's minimal filtering F(4×4, 3×3): a tile of 4×4 outputs from 6×6 inputs with 36 products for each pair of
// channels instead of 144; and F(4×4, 2×2), from 5×5 inputs with 25 instead of 64.
//
//	Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A,   and for the gradient   ∂g = Gᵀ[Σ (Bᵀ d B) ⊙ (A ∂Y Aᵀ)]G
//
// Source: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308. The points
// are 0, 1, −1, 1/2, −2 (for three taps) and ∞, which lose less precision than ±2: with 64 channels the largest error is 1.0·10⁻⁵ and the
// usual one 1.1·10⁻⁶ of the results' standard deviation; float32 sums as they stand have 2.5·10⁻⁶.
#ifndef UNNOISE_WINOGRAD_BODY_H
#define UNNOISE_WINOGRAD_BODY_H
#include "gemm_body.h"

enum { MOST_SIDE = 6, MOST_POINTS = MOST_SIDE * MOST_SIDE };

INLINE int side_of(int taps) { return taps + 3; }
INLINE int points_of(int taps) { return side_of(taps) * side_of(taps); }

typedef double doubles __attribute__((vector_size(LANES * sizeof(double)), aligned(8), may_alias));  // sums for the gradient, of as many channels

INLINE void input_line(int taps, const lanes *d, int step, lanes *v, int to) {
  const lanes d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
  if (taps == 2) {
    v[0] = 0.5f * (d[0] - d2) - d1 + d3;
    v[to] = 0.5f * (d2 - d1) + d3;
    v[2 * to] = 0.5f * d1 - 1.5f * d2 + d3;
    v[3 * to] = d3 - d1;
    v[4 * to] = 0.5f * (d1 - d3) - d2 + d4;
    return;
  }
  v[0] = d[0] + 1.5f * (d3 - d1) - 2.f * d2 + d4;
  v[to] = 0.5f * d2 - d1 + 2.5f * d3 + d4;
  v[2 * to] = d1 - 2.5f * d2 + 0.5f * d3 + d4;
  v[3 * to] = 2.f * (d3 - d1) - d2 + d4;
  v[4 * to] = 0.5f * (d1 - d3) - d2 + d4;
  v[5 * to] = d1 + 1.5f * (d4 - d2) - 2.f * d3 + d[5 * step];
}

INLINE void output_line(int taps, const lanes *m, int step, lanes *y, int to) {
  const lanes m1 = m[step], m2 = m[2 * step], m3 = m[3 * step], m4 = m[4 * step], even = m1 + m2, odd = m1 - m2;
  if (taps == 2) {
    y[0] = m[0] + even + m3;
    y[to] = odd + 0.5f * m3;
    y[2 * to] = even + 0.25f * m3;
    y[3 * to] = odd + 0.125f * m3 + m4;
    return;
  }
  y[0] = m[0] + even + m3 + m4;
  y[to] = odd + 0.5f * m3 - 2.f * m4;
  y[2 * to] = even + 0.25f * m3 + 4.f * m4;
  y[3 * to] = odd + 0.125f * m3 - 8.f * m4 + m[5 * step];
}

INLINE void gradient_line(int taps, const lanes *y, int step, lanes *z, int to) {
  const lanes y1 = y[step], y2 = y[2 * step], y3 = y[3 * step], even = y[0] + y2, odd = y1 + y3;
  z[0] = y[0];
  z[to] = even + odd;
  z[2 * to] = even - odd;
  z[3 * to] = y[0] + 0.5f * y1 + 0.25f * y2 + 0.125f * y3;
  if (taps == 3) z[4 * to] = y[0] - 2.f * y1 + 4.f * y2 - 8.f * y3;
  z[(taps + 2) * to] = y3;
}

INLINE void weights_line(int taps, const lanes *g, int step, lanes *u, int to) {
  const lanes g0 = g[0], g1 = g[step];
  if (taps == 2) {
    u[0] = 2.f * g0;
    u[to] = g0 + g1;
    u[2 * to] = 1 / 3.f * (g1 - g0);
    u[3 * to] = -8 / 3.f * g0 - 4 / 3.f * g1;
    u[4 * to] = g1;
    return;
  }
  const lanes g2 = g[2 * step], even = g0 + g2;
  u[0] = g0;
  u[to] = 1 / 3.f * (g1 + even);
  u[2 * to] = 1 / 3.f * (g1 - even);
  u[3 * to] = -4 / 15.f * (4.f * g0 + 2.f * g1 + g2);
  u[4 * to] = 1 / 15.f * (g0 - 2.f * g1 + 4.f * g2);
  u[5 * to] = g2;
}

INLINE void weights_gradient_line(int taps, const doubles *u, int step, doubles *g, int to) {
  const doubles u1 = u[step], u2 = u[2 * step], u3 = u[3 * step], u4 = u[4 * step];
  if (taps == 2) {
    g[0] = 2 * u[0] + u1 - (u2 + 8 * u3) / 3;
    g[to] = u1 + (u2 - 4 * u3) / 3 + u4;
    return;
  }
  g[0] = u[0] + (u1 - u2) / 3 + (u4 - 16 * u3) / 15;
  g[to] = (u1 + u2) / 3 - (8 * u3 + 2 * u4) / 15;
  g[2 * to] = (u1 - u2) / 3 + 4 * (u4 - u3) / 15 + u[5 * step];
}

// How a convolution is cut: blocks of so many tiles that what belongs to one stays in the second-level cache.
// Arrays of points are v_step and m_step apart: a line more than they are long, since a transform touches all of them at once, and
// at powers of two they would share one set of the first-level cache.
typedef struct { int64_t rows, columns, tiles, block, blocks, v_step, u_step, m_step; int points, threads; } tiling;

enum { LINE = 16 };  // floats

static tiling tiles_of(const un_winograd *w, int threads) {
  tiling s = {.rows = parts_of(w->height, 4), .columns = parts_of(w->width, 4), .points = points_of(w->taps), .threads = threads};
  s.tiles = w->batch * s.rows * s.columns;
  int64_t block = (768 << 10) / ((int64_t)sizeof(float) * s.points * (w->in + w->out));
  block = least(block < 32 ? 32 : block, 64);
  s.block = up_to(least(block, parts_of(s.tiles, threads)), TILE_ROWS);
  s.blocks = parts_of(s.tiles, s.block);
  s.v_step = s.block * w->in + LINE;
  s.u_step = w->in * w->out;
  s.m_step = s.block * w->out + LINE;
  if (s.threads > s.blocks) s.threads = (int)s.blocks;
  return s;
}

// Pixels [0,side)² of a tile: addresses of their channels, of zeros beyond the picture.
INLINE void tile_pixels(const void *base, int dtype, int64_t offset, int64_t y, int64_t x, int side, int64_t height, int64_t width, int64_t y_stride, int64_t x_stride, const void **at) {
  for (int i = 0; i < side; i++)
    for (int j = 0; j < side; j++)
      at[i * side + j] = y + i >= 0 && y + i < height && x + j >= 0 && x + j < width ? element(base, offset + (y + i) * y_stride + (x + j) * x_stride, dtype) : zeros;
}

INLINE void tile_place(const tiling *s, int64_t tile, int64_t *n, int64_t *y, int64_t *x) {
  *x = tile % s->columns * 4;
  *y = tile / s->columns % s->rows * 4;
  *n = tile / s->columns / s->rows;
}

INLINE void input_pixels(int taps, int dtype, const un_winograd *w, const tiling *s, int phase, const void *x, int64_t tile, const void **at) {
  int64_t n, row, column;
  tile_place(s, tile, &n, &row, &column);
  const int64_t *size = w->phase[phase].x_size, *pad = w->phase[phase].pad;
  tile_pixels(x, dtype, w->phase[phase].x + n * w->x_batch, row - pad[0], column - pad[1], side_of(taps), size[0], size[1], w->x_stride[0], w->x_stride[1], at);
}

// v[point][tile][in] of one phase, for count tiles.
INLINE void transform_input(int taps, int dtype, const un_winograd *w, const tiling *s, int phase, const void *x, int64_t first, int64_t count, float *v) {
  const int side = side_of(taps), points = side * side;
  const void *pixels[2][MOST_POINTS];
  input_pixels(taps, dtype, w, s, phase, x, least(first, s->tiles - 1), pixels[0]);
  for (int64_t t = 0; t < count; t++) {
    float *to = v + t * w->in;
    if (first + t >= s->tiles) {
      for (int p = 0; p < points; p++) memset(to + p * s->v_step, 0, (size_t)w->in * sizeof(float));
      continue;
    }
    const void **at = pixels[t % 2], **next = pixels[(t + 1) % 2];  // fetched ahead
    input_pixels(taps, dtype, w, s, phase, x, least(first + t + 1, s->tiles - 1), next);
    for (int64_t c = 0; c < w->in; c += LANES) {
      lanes half[MOST_POINTS], out[MOST_POINTS];
      for (int j = 0; j < side; j++) {
        lanes d[MOST_SIDE];
        for (int i = 0; i < side; i++) {
          d[i] = load_lanes(at[i * side + j], c, dtype);
          __builtin_prefetch(element(next[i * side + j], c, dtype));
        }
        input_line(taps, d, 1, half + j, side);
      }
      for (int i = 0; i < side; i++) input_line(taps, half + side * i, 1, out + side * i, 1);
      for (int p = 0; p < points; p++) *(lanes *)(to + p * s->v_step + c) = out[p];
    }
  }
}

// Where, in elements from the phase's first weight, tap i of the window stands.
INLINE int64_t tap_of(int taps, const un_winograd *w, int i) { return i / taps * w->w_window[0] + i % taps * w->w_window[1]; }

// Of a matrix with these rows, exchanges the upper right and the lower left of each block of 2·half by 2·half.
INLINE void exchange(lanes *r, int half) {
  bit_lanes low, high;
#pragma GCC unroll 16
  for (int j = 0; j < LANES; j++) {
    low[j] = j & half ? LANES + j - half : j;
    high[j] = j & half ? LANES + j : j + half;
  }
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) {
    if (i & half) continue;
    const lanes a = r[i], b = r[i + half];
    r[i] = __builtin_shuffle(a, b, low);
    r[i + half] = __builtin_shuffle(a, b, high);
  }
}

// r[i][j] becomes d[j·step][i].
INLINE void transpose(lanes *r, lanes *d, int step) {
  if (LANES > 8) exchange(r, 8);
  if (LANES > 4) exchange(r, 4);
  exchange(r, 2);
  exchange(r, 1);
  for (int j = 0; j < LANES; j++) d[j * step] = r[j];
}

// d[input][tap] of a phase's weights from inputs [i, i + LANES) to outputs [o, o + LANES).
INLINE void load_weights(int taps, const un_winograd *w, const void *g, int phase, int64_t i, int64_t o, lanes *d) {
  const int window = taps * taps;
  const int64_t from = w->phase[phase].w + i * w->w_in + o * w->w_out;
  lanes r[LANES];
  if (w->w_out == 1)
    for (int j = 0; j < LANES; j++)
      for (int t = 0; t < window; t++) d[j * window + t] = load_lanes(g, from + tap_of(taps, w, t) + j * w->w_in, w->w_dtype);
  else if (w->w_in == 1)
    for (int t = 0; t < window; t++) {
      for (int j = 0; j < LANES; j++) r[j] = load_lanes(g, from + tap_of(taps, w, t) + j * w->w_out, w->w_dtype);
      transpose(r, d + t, window);
    }
  else if (w->w_in == window && w->w_window[0] == taps && w->w_window[1] == 1)
    for (int t = 0; t < window; t++) {
      for (int j = 0; j < LANES; j++) r[j] = load_lanes(g, from + t * LANES + j * w->w_out, w->w_dtype);
      transpose(r, d + t * LANES, 1);
    }
  else
    for (int k = 0; k < LANES * window; k++)
      for (int j = 0; j < LANES; j++) d[k][j] = load_one(g, from + k / window * w->w_in + tap_of(taps, w, k % window) + j * w->w_out, w->w_dtype);
}

// u[phase][point][panel][in][TILE_COLUMNS] of all weights, points being u_step apart.
INLINE void transform_weights(int taps, const un_winograd *w, int64_t u_step, const void *g, float *u, int threads) {
  const int side = side_of(taps), points = side * side;
  const int64_t panel = w->in * TILE_COLUMNS, rows = w->in / LANES;
#pragma omp parallel for schedule(static) num_threads(un_parts(w->n_phases * rows)) if (threads > 1)
  for (int64_t k = 0; k < w->n_phases * rows; k++) {
    const int64_t phase = k / rows, i = k % rows * LANES;
    for (int64_t o = 0; o < w->out; o += LANES) {
      lanes d[9 * LANES], half[18], out[MOST_POINTS];
      load_weights(taps, w, g, (int)phase, i, o, d);
      float *to = u + phase * points * u_step + o / TILE_COLUMNS * panel + i * TILE_COLUMNS + o % TILE_COLUMNS;
      for (int r = 0; r < LANES; r++, to += TILE_COLUMNS) {
        for (int j = 0; j < taps; j++) weights_line(taps, d + r * taps * taps + j, taps, half + j, taps);
        for (int j = 0; j < side; j++) weights_line(taps, half + taps * j, 1, out + side * j, 1);
        for (int p = 0; p < points; p++) *(lanes *)(to + p * u_step) = out[p];
      }
    }
  }
}

INLINE void transform_output(int taps, int dtype, const un_winograd *w, const tiling *s, int phase, const float *m, int64_t first, const void *bias, void *y) {
  const int side = side_of(taps);
  for (int64_t t = 0; t < s->block && first + t < s->tiles; t++) {
    int64_t n, row, column;
    tile_place(s, first + t, &n, &row, &column);
    const int rows = (int)least(4, w->height - row), columns = (int)least(4, w->width - column);
    const int64_t to = w->phase[phase].y + n * w->y_batch + row * w->y_stride[0] + column * w->y_stride[1];
    for (int64_t c = 0; c < w->out; c += LANES) {
      lanes half[24], out[16];
      for (int j = 0; j < side; j++) {
        lanes d[MOST_SIDE];
        for (int i = 0; i < side; i++) {
          const float *from = m + (i * side + j) * s->m_step + t * w->out + c;
          d[i] = *(const lanes *)from;
          __builtin_prefetch(from + w->out);
        }
        output_line(taps, d, 1, half + j, side);
      }
      for (int i = 0; i < 4; i++) output_line(taps, half + side * i, 1, out + 4 * i, 1);
      const lanes b = bias ? load_lanes(bias, c, w->bias_dtype) : (lanes){0};
      for (int i = 0; i < 16; i++) out[i] += b;
      if (w->gelu) {
        float *v = (float *)out;
#pragma GCC ivdep
        for (int i = 0; i < 16 * LANES; i++) v[i] = gelu(v[i]);
      }
      for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) store_lanes(y, to + i * w->y_stride[0] + j * w->y_stride[1] + c, out[4 * i + j], dtype);
    }
  }
}

// z[point][panel][tile][TILE_COLUMNS] of one block, from the gradient of the outputs.
INLINE void transform_gradient(int taps, int dtype, const un_winograd *w, const tiling *s, const void *y, int64_t first, float *z) {
  const int side = side_of(taps), points = side * side;
  for (int64_t t = 0; t < s->block; t++) {
    const void *at[16];
    int64_t n, row, column;
    tile_place(s, least(first + t, s->tiles - 1), &n, &row, &column);
    if (first + t >= s->tiles) for (int i = 0; i < 16; i++) at[i] = zeros;
    else tile_pixels(y, dtype, n * w->y_batch, row, column, 4, w->height, w->width, w->y_stride[0], w->y_stride[1], at);
    for (int64_t c = 0; c < w->out; c += LANES) {
      lanes d[16], half[24], out[MOST_POINTS];
      for (int i = 0; i < 16; i++) d[i] = load_lanes(at[i], c, dtype);
      for (int j = 0; j < 4; j++) gradient_line(taps, d + j, 4, half + j, 4);
      for (int i = 0; i < side; i++) gradient_line(taps, half + 4 * i, 1, out + side * i, 1);
      float *to = z + c / TILE_COLUMNS * s->block * TILE_COLUMNS + t * TILE_COLUMNS + c % TILE_COLUMNS;
      for (int p = 0; p < points; p++) *(lanes *)(to + p * s->m_step) = out[p];
    }
  }
}

// Scratch, in floats: of each thread v and m or z, and for gradients the thread's sums.
typedef struct { int64_t v, m, sums, thread; } winograd_parts;

static winograd_parts parts_for(const un_winograd *w, const tiling *s) {
  winograd_parts p = {.v = up_to(s->points * s->v_step + 2 * LANES, LANES), .m = s->points * s->m_step};
  if (w->gradient) p.sums = w->n_phases * s->points * up_to(w->in, TILE_ROWS) * w->out;
  p.thread = p.v + p.m + p.sums;
  return p;
}

// ---- many channels
//
// Their transformed weights fit no cache and are not kept. All tiles of a stretch are transformed first. Then each thread takes a panel of outputs
// at a time, transforms its weights from WIDE_DEPTH inputs into the second-level cache, multiplies them with all of the tiles, and goes on to the next inputs.

enum { WIDE_DEPTH = 128, WIDE_BYTES = 8 << 20, WIDE_TILES = 64 };  // a stretch has as many tiles as WIDE_BYTES hold, and at least WIDE_TILES

// A stretch is so many blocks, which share the work on a panel. v, u and m: floats of a block, of a thread, of a thread.
typedef struct { tiling t; int64_t stretch, v, u, m; } wide_tiling;

static wide_tiling wide_tiles_of(const un_winograd *w, int threads) {
  wide_tiling s = {.t = tiles_of(w, threads), .stretch = 1};
  const int64_t panels = w->out / TILE_COLUMNS, bytes = (int64_t)sizeof(float) * s.t.points * w->in;
  const int64_t most = bytes * WIDE_TILES > WIDE_BYTES ? WIDE_TILES : WIDE_BYTES / bytes;
  if (panels < 8 * threads) while (panels * s.stretch % threads != 0) s.stretch++;
  s.t.block = up_to(parts_of(s.t.tiles, parts_of(s.t.tiles, most) * s.stretch), TILE_ROWS);
  s.t.blocks = parts_of(s.t.tiles, s.t.block);
  s.t.u_step = WIDE_DEPTH * TILE_COLUMNS + LINE;
  s.t.m_step = s.t.block * TILE_COLUMNS + LINE;
  s.v = s.t.points * (s.t.block * w->in + parts_of(w->in, WIDE_DEPTH) * LINE);
  s.u = s.t.points * s.t.u_step;
  s.m = s.t.points * s.t.m_step;
  return s;
}

// The part of a convolution from inputs [c, c + WIDE_DEPTH) to outputs [o, o + TILE_COLUMNS).
static un_winograd part_of(const un_winograd *w, int64_t c, int64_t o) {
  un_winograd part = *w;
  part.in = least(WIDE_DEPTH, w->in - c);
  part.out = TILE_COLUMNS;
  part.phase[0].x += c;
  part.phase[0].w += c * w->w_in + o * w->w_out;
  part.phase[0].y += o;
  return part;
}

// The block's tiling and transformed inputs, as a part has them.
INLINE float *inputs_of(const un_winograd *part, tiling *t, int64_t c, float *v) {
  t->v_step = t->block * part->in + LINE;
  return v + t->points * (t->block * c + c / WIDE_DEPTH * LINE);
}

INLINE void winograd_wide(int taps, int x_dtype, int y_dtype, const un_winograd *w, void *const *slots, float *scratch, int threads) {
  const wide_tiling s = wide_tiles_of(w, threads);
  const int64_t panels = w->out / TILE_COLUMNS, depths = parts_of(w->in, WIDE_DEPTH), groups = s.t.block / TILE_ROWS;
  for (int64_t first = 0; first < s.t.blocks; first += s.stretch) {
    const int64_t blocks = least(s.stretch, s.t.blocks - first);
#pragma omp parallel for schedule(static) num_threads(un_parts(blocks * depths * groups)) if (threads > 1)
    for (int64_t i = 0; i < blocks * depths * groups; i++) {
      const int64_t block = i / groups / depths, c = i / groups % depths * WIDE_DEPTH, row = i % groups * TILE_ROWS;
      const un_winograd part = part_of(w, c, 0);
      tiling t = s.t;
      float *v = inputs_of(&part, &t, c, scratch + block * s.v);
      transform_input(taps, x_dtype, &part, &t, 0, slots[w->x], (first + block) * t.block + row, TILE_ROWS, v + row * part.in);
    }
#pragma omp parallel for schedule(static) num_threads(un_parts(panels * blocks)) if (threads > 1)
    for (int64_t i = 0; i < panels * blocks; i++) {
      const int64_t o = i / blocks * TILE_COLUMNS, block = i % blocks;
      float *u = scratch + s.stretch * s.v + un_worker() * (s.u + s.m), *m = u + s.u;
      for (int64_t c = 0; c < w->in; c += WIDE_DEPTH) {
        const un_winograd part = part_of(w, c, o);
        tiling t = s.t;
        const float *v = inputs_of(&part, &t, c, scratch + block * s.v);
        transform_weights(taps, &part, t.u_step, slots[w->w], u, 1);
        for (int p = 0; p < t.points; p++)
          for (int64_t row = 0; row < t.block; row += TILE_ROWS)
            tile(v + p * t.v_step + row * part.in, part.in, 1, u + p * t.u_step, part.in, m + p * t.m_step + row * TILE_COLUMNS, TILE_COLUMNS, c > 0);
      }
      const un_winograd part = part_of(w, 0, o);
      const void *bias = w->bias < 0 ? NULL : element(slots[w->bias], o, w->bias_dtype);
      transform_output(taps, y_dtype, &part, &s.t, 0, m, (first + block) * s.t.block, bias, slots[w->y]);
    }
  }
}

INLINE void winograd_outputs(int taps, int x_dtype, int y_dtype, const un_winograd *w, void *const *slots, float *scratch, int weights_changed, int threads) {
  if (taps == 3 && w->wide) {
    winograd_wide(taps, x_dtype, y_dtype, w, slots, scratch, threads);
    return;
  }
  const tiling s = tiles_of(w, threads);
  const winograd_parts parts = parts_for(w, &s);
  if (weights_changed) transform_weights(taps, w, s.u_step, slots[w->w], w->u, threads);
#pragma omp parallel num_threads(un_parts(s.blocks)) if (s.threads > 1)
  {
    const int64_t me = omp_get_thread_num(), team = omp_get_num_threads();
    float *v = scratch + un_worker() * parts.thread, *m = v + parts.v;
    for (int64_t block = s.blocks * me / team; block < s.blocks * (me + 1) / team; block++)
      for (int phase = 0; phase < w->n_phases; phase++) {
        const float *u = w->u + phase * s.points * s.u_step;
        transform_input(taps, x_dtype, w, &s, phase, slots[w->x], block * s.block, s.block, v);
        for (int p = 0; p < s.points; p++)
          for (int64_t o = 0; o < w->out; o += TILE_COLUMNS)
            for (int64_t t = 0; t < s.block; t += TILE_ROWS)
              tile(v + p * s.v_step + t * w->in, w->in, 1, u + p * s.u_step + o * w->in, w->in, m + p * s.m_step + t * w->out + o, w->out, w->sum && phase > 0);
        if (!w->sum || phase + 1 == w->n_phases)
          transform_output(taps, y_dtype, w, &s, w->sum ? 0 : phase, m, block * s.block, w->bias < 0 ? NULL : slots[w->bias], slots[w->y]);
      }
  }
}

// Stores the gradients g[input][tap] of a phase's weights from inputs [i, i + LANES) to outputs [o, o + LANES).
INLINE void store_gradients(int taps, const un_winograd *w, void *to, int phase, int64_t i, int64_t o, lanes *g) {
  const int window = taps * taps;
  const int64_t at = w->phase[phase].w + i * w->w_in + o * w->w_out;
  if (w->w_in == window && w->w_window[0] == taps && w->w_window[1] == 1 && (w->w_dtype == UN_F32 || w->w_dtype == UN_BF16))
    for (int t = 0; t < window; t++) {
      lanes r[LANES];
      transpose(g + t * LANES, r, 1);
      for (int j = 0; j < LANES; j++) store_lanes(to, at + t * LANES + j * w->w_out, r[j], w->w_dtype);
    }
  else if (w->w_out == 1 && (w->w_dtype == UN_F32 || w->w_dtype == UN_BF16))
    for (int k = 0; k < LANES * window; k++) store_lanes(to, at + k / window * w->w_in + tap_of(taps, w, k % window), g[k], w->w_dtype);
  else
    for (int k = 0; k < LANES * window; k++)
      for (int j = 0; j < LANES; j++) store_one(to, at + k / window * w->w_in + tap_of(taps, w, k % window) + j * w->w_out, w->w_dtype, g[k][j]);
}

INLINE void winograd_gradient(int taps, int dtype, const un_winograd *w, void *const *slots, float *scratch, int threads) {
  const int side = side_of(taps);
  const tiling s = tiles_of(w, threads);
  const winograd_parts parts = parts_for(w, &s);
  const int64_t rows = up_to(w->in, TILE_ROWS), point = rows * w->out;
  int team = 1;  // may be fewer threads than asked for
#pragma omp parallel num_threads(s.threads) if (s.threads > 1)
  {
    const int64_t me = omp_get_thread_num(), members = omp_get_num_threads(), first = s.blocks * me / members;
    if (me == 0) team = (int)members;
    float *v = scratch + me * parts.thread, *z = v + parts.v;
    for (int64_t block = first; block < s.blocks * (me + 1) / members; block++) {
      transform_gradient(taps, dtype, w, &s, slots[w->y], block * s.block, z);
      for (int phase = 0; phase < w->n_phases; phase++) {
        float *sums = z + parts.m + phase * s.points * point;
        transform_input(taps, dtype, w, &s, phase, slots[w->x], block * s.block, s.block, v);
        for (int p = 0; p < s.points; p++)
          for (int64_t o = 0; o < w->out; o += TILE_COLUMNS)
            for (int64_t k = 0; k < rows; k += TILE_ROWS)
              tile(v + p * s.v_step + k, 1, w->in, z + p * s.m_step + o * s.block, s.block,
                   sums + p * point + o * rows + k * TILE_COLUMNS, TILE_COLUMNS, block > first);
      }
    }
  }
  const int64_t groups = w->in / LANES;
#pragma omp parallel for schedule(static) num_threads(un_parts(w->n_phases * groups)) if (threads > 1)
  for (int64_t k = 0; k < w->n_phases * groups; k++) {
    const int64_t phase = k / groups, i = k % groups * LANES;
    for (int64_t o = 0; o < w->out; o += LANES) {
      lanes g[9 * LANES];  // [input][tap] of LANES outputs
      for (int r = 0; r < LANES; r++) {
        doubles d[MOST_POINTS], half[18], out[9];
        const float *sums = scratch + parts.v + parts.m + phase * s.points * point + o / TILE_COLUMNS * TILE_COLUMNS * rows + (i + r) * TILE_COLUMNS + o % TILE_COLUMNS;
        for (int p = 0; p < s.points; p++) {
          d[p] = (doubles){0};
          for (int t = 0; t < team; t++) d[p] += __builtin_convertvector(*(const lanes *)(sums + t * parts.thread + p * point), doubles);
        }
        for (int j = 0; j < side; j++) weights_gradient_line(taps, d + j, side, half + j, side);
        for (int j = 0; j < taps; j++) weights_gradient_line(taps, half + side * j, 1, out + taps * j, 1);
        for (int t = 0; t < taps * taps; t++) g[r * taps * taps + t] = __builtin_convertvector(out[t], lanes);
      }
      store_gradients(taps, w, slots[w->w], (int)phase, i, o, g);
    }
  }
}

INLINE void winograd_of(int taps, const un_winograd *w, void *const *slots, void *scratch, int weights_changed, int threads) {
  const int narrow = w->x_dtype == UN_BF16;
  if (w->gradient && narrow) winograd_gradient(taps, UN_BF16, w, slots, scratch, threads);
  else if (w->gradient) winograd_gradient(taps, UN_F32, w, slots, scratch, threads);
  else if (narrow && w->y_dtype == UN_F32) winograd_outputs(taps, UN_BF16, UN_F32, w, slots, scratch, weights_changed, threads);
  else if (narrow) winograd_outputs(taps, UN_BF16, UN_BF16, w, slots, scratch, weights_changed, threads);
  else winograd_outputs(taps, UN_F32, UN_F32, w, slots, scratch, weights_changed, threads);
}

static void winograd(const un_winograd *w, void *const *slots, void *scratch, int weights_changed, int threads) {
  if (w->taps == 2) winograd_of(2, w, slots, scratch, weights_changed, threads);
  else winograd_of(3, w, slots, scratch, weights_changed, threads);
}

// Whether the kernel takes these channels.
static int winograd_fits(const un_winograd *w) {
  return w->in % LANES == 0 && w->out % TILE_COLUMNS == 0 && (w->wide || w->in <= MOST_CHANNELS && w->out <= MOST_CHANNELS && w->in * w->out <= DEPTH * DEPTH);
}

static size_t winograd_scratch(const un_winograd *w, int threads) {
  if (w->wide) {
    const wide_tiling s = wide_tiles_of(w, threads);
    return (size_t)(s.stretch * s.v + threads * (s.u + s.m)) * sizeof(float);
  }
  const tiling s = tiles_of(w, threads);
  return (size_t)(parts_for(w, &s).thread * threads) * sizeof(float);
}

#endif
