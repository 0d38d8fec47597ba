// Winograd's minimal filtering F(4×4, 3×3): a tile of 4×4 outputs from 6×6 inputs with 36 products for each pair of
// channels instead of 144. Part of kernels_body.h, after gemm.h: compiled once for each instruction set.
//
//	Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A,   and for the gradient   ∂g = Gᵀ[Σ (Bᵀ d B) ⊙ (A ∂Y Aᵀ)]G
//
// Source: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308. The points
// are 0, 1, −1, 1/2, −2 and ∞, which lose less precision than ±2: with 64 channels the largest error is 1.0·10⁻⁵ and the
// usual one 1.1·10⁻⁶ of the results' standard deviation; float32 sums as they stand have 2.5·10⁻⁶.

enum { POINTS = 36 };

typedef double wide __attribute__((vector_size(LANES * sizeof(double)), aligned(8), may_alias));  // weights, of as many channels

INLINE void input_line(const lanes *d, int step, lanes *v, int to) {
  const lanes d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
  v[0] = d[0] + 1.5f * (d3 - d1) - 2.f * d2 + d4;
  v[to] = 0.5f * d2 - d1 + 2.5f * d3 + d4;
  v[2 * to] = d1 - 2.5f * d2 + 0.5f * d3 + d4;
  v[3 * to] = 2.f * (d3 - d1) - d2 + d4;
  v[4 * to] = 0.5f * (d1 - d3) - d2 + d4;
  v[5 * to] = d1 + 1.5f * (d4 - d2) - 2.f * d3 + d[5 * step];
}

INLINE void output_line(const lanes *m, int step, lanes *y, int to) {
  const lanes m1 = m[step], m2 = m[2 * step], m3 = m[3 * step], m4 = m[4 * step], even = m1 + m2, odd = m1 - m2;
  y[0] = m[0] + even + m3 + m4;
  y[to] = odd + 0.5f * m3 - 2.f * m4;
  y[2 * to] = even + 0.25f * m3 + 4.f * m4;
  y[3 * to] = odd + 0.125f * m3 - 8.f * m4 + m[5 * step];
}

INLINE void gradient_line(const lanes *y, int step, lanes *z, int to) {
  const lanes y1 = y[step], y2 = y[2 * step], y3 = y[3 * step], even = y[0] + y2, odd = y1 + y3;
  z[0] = y[0];
  z[to] = even + odd;
  z[2 * to] = even - odd;
  z[3 * to] = y[0] + 0.5f * y1 + 0.25f * y2 + 0.125f * y3;
  z[4 * to] = y[0] - 2.f * y1 + 4.f * y2 - 8.f * y3;
  z[5 * to] = y3;
}

INLINE void weights_line(const wide *g, int step, wide *u, int to) {
  const wide g0 = g[0], g1 = g[step], g2 = g[2 * step];
  u[0] = g0;
  u[to] = (g0 + g1 + g2) / 3;
  u[2 * to] = (g1 - g0 - g2) / 3;
  u[3 * to] = -(16 * g0 + 8 * g1 + 4 * g2) / 15;
  u[4 * to] = (g0 - 2 * g1 + 4 * g2) / 15;
  u[5 * to] = g2;
}

INLINE void weights_gradient_line(const wide *u, int step, wide *g, int to) {
  const wide u1 = u[step], u2 = u[2 * step], u3 = u[3 * step], u4 = u[4 * step];
  g[0] = u[0] + (u1 - u2) / 3 + (u4 - 16 * u3) / 15;
  g[to] = (u1 + u2) / 3 - (8 * u3 + 2 * u4) / 15;
  g[2 * to] = (u1 - u2) / 3 + 4 * (u4 - u3) / 15 + u[5 * step];
}

// How a convolution is cut: blocks of so many tiles that what belongs to one stays in the second-level cache.
// Arrays of points are v_step and m_step apart: a line more than they are long, since a transform touches all of them at once, and
// at powers of two they would share one set of the first-level cache.
typedef struct { int64_t rows, columns, tiles, block, blocks, v_step, m_step; int threads; } tiling;

enum { LINE = 16 };  // floats

static tiling tiles_of(const un_winograd *w, int threads) {
  tiling s = {.rows = parts_of(w->height, 4), .columns = parts_of(w->width, 4), .threads = threads};
  s.tiles = w->batch * s.rows * s.columns;
  int64_t block = (768 << 10) / ((int64_t)sizeof(float) * POINTS * (w->in + w->out));
  block = least(block < 32 ? 32 : block, 64);
  s.block = up_to(least(block, parts_of(s.tiles, threads)), TILE_ROWS);
  s.blocks = parts_of(s.tiles, s.block);
  s.v_step = s.block * w->in + LINE;
  s.m_step = s.block * w->out + LINE;
  if (s.threads > s.blocks) s.threads = (int)s.blocks;
  return s;
}

// Pixels [0,6)² or [0,4)² of a tile: addresses of their channels, of zeros beyond the picture.
INLINE void tile_pixels(const float *base, int64_t y, int64_t x, int side, int64_t height, int64_t width, int64_t y_stride, int64_t x_stride, const float **at) {
  for (int i = 0; i < side; i++)
    for (int j = 0; j < side; j++)
      at[i * side + j] = y + i >= 0 && y + i < height && x + j >= 0 && x + j < width ? base + (y + i) * y_stride + (x + j) * x_stride : zeros;
}

INLINE void tile_place(const un_winograd *w, const tiling *s, int64_t tile, int64_t *n, int64_t *y, int64_t *x) {
  *x = tile % s->columns * 4;
  *y = tile / s->columns % s->rows * 4;
  *n = tile / s->columns / s->rows;
}

// v[point][tile][in] of one block.
static void transform_input(const un_winograd *w, const tiling *s, const float *x, int64_t first, float *v) {
  for (int64_t t = 0; t < s->block; t++) {
    float *to = v + t * w->in;
    if (first + t >= s->tiles) {
      for (int p = 0; p < POINTS; p++) memset(to + p * s->v_step, 0, (size_t)w->in * sizeof(float));
      continue;
    }
    int64_t n, row, column;
    tile_place(w, s, first + t, &n, &row, &column);
    const float *at[36];
    tile_pixels(x + n * w->x_batch, row - w->pad[0], column - w->pad[1], 6, w->x_size[0], w->x_size[1], w->x_stride[0], w->x_stride[1], at);
    for (int64_t c = 0; c < w->in; c += LANES) {
      lanes d[36], half[36], out[36];
      for (int i = 0; i < 36; i++) d[i] = *(const lanes *)(at[i] + c);
      for (int j = 0; j < 6; j++) input_line(d + j, 6, half + j, 6);
      for (int i = 0; i < 6; i++) input_line(half + 6 * i, 1, out + 6 * i, 1);
      for (int p = 0; p < POINTS; p++) *(lanes *)(to + p * s->v_step + c) = out[p];
    }
  }
}

// u[point][panel][in][TILE_COLUMNS] of all weights.
static void transform_weights(const un_winograd *w, const float *g, float *u, int threads) {
  const int64_t panel = w->in * TILE_COLUMNS, point = w->in * w->out;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t k = 0; k < w->in; k++)
    for (int64_t o = 0; o < w->out; o += LANES) {
      wide d[9], half[18], out[36];
      for (int i = 0; i < 9; i++) {
        const float *from = g + w->w_offset + i / 3 * w->w_window[0] + i % 3 * w->w_window[1] + k * w->w_in + o * w->w_out;
        for (int j = 0; j < LANES; j++) d[i][j] = from[j * w->w_out];
      }
      for (int j = 0; j < 3; j++) weights_line(d + j, 3, half + j, 3);
      for (int i = 0; i < 6; i++) weights_line(half + 3 * i, 1, out + 6 * i, 1);
      float *to = u + o / TILE_COLUMNS * panel + k * TILE_COLUMNS + o % TILE_COLUMNS;
      for (int p = 0; p < POINTS; p++) *(lanes *)(to + p * point) = __builtin_convertvector(out[p], lanes);
    }
}

static void transform_output(const un_winograd *w, const tiling *s, const float *m, int64_t first, const float *bias, float *y) {
  for (int64_t t = 0; t < s->block && first + t < s->tiles; t++) {
    int64_t n, row, column;
    tile_place(w, s, first + t, &n, &row, &column);
    const int rows = (int)least(4, w->height - row), columns = (int)least(4, w->width - column);
    float *to = y + n * w->y_batch + row * w->y_stride[0] + column * w->y_stride[1];
    for (int64_t c = 0; c < w->out; c += LANES) {
      lanes d[36], half[24], out[16];
      for (int p = 0; p < POINTS; p++) d[p] = *(const lanes *)(m + p * s->m_step + t * w->out + c);
      for (int j = 0; j < 6; j++) output_line(d + j, 6, half + j, 6);
      for (int i = 0; i < 4; i++) output_line(half + 6 * i, 1, out + 4 * i, 1);
      const lanes b = bias ? *(const lanes *)(bias + c) : (lanes){0};
      for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) *(lanes *)(to + i * w->y_stride[0] + j * w->y_stride[1] + c) = out[4 * i + j] + b;
    }
    if (!w->gelu) continue;
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < columns; j++) {
        float *restrict v = to + i * w->y_stride[0] + j * w->y_stride[1];
#pragma GCC ivdep
        for (int64_t c = 0; c < w->out; c++) v[c] = gelu(v[c]);
      }
  }
}

// z[point][panel][tile][TILE_COLUMNS] of one block, from the gradient of the outputs.
static void transform_gradient(const un_winograd *w, const tiling *s, const float *y, int64_t first, float *z) {
  for (int64_t t = 0; t < s->block; t++) {
    const float *at[16];
    int64_t n, row, column;
    tile_place(w, s, least(first + t, s->tiles - 1), &n, &row, &column);
    if (first + t >= s->tiles) for (int i = 0; i < 16; i++) at[i] = zeros;
    else tile_pixels(y + n * w->y_batch, row, column, 4, w->height, w->width, w->y_stride[0], w->y_stride[1], at);
    for (int64_t c = 0; c < w->out; c += LANES) {
      lanes d[16], half[24], out[36];
      for (int i = 0; i < 16; i++) d[i] = *(const lanes *)(at[i] + c);
      for (int j = 0; j < 4; j++) gradient_line(d + j, 4, half + j, 4);
      for (int i = 0; i < 6; i++) gradient_line(half + 4 * i, 1, out + 6 * i, 1);
      float *to = z + c / TILE_COLUMNS * s->block * TILE_COLUMNS + t * TILE_COLUMNS + c % TILE_COLUMNS;
      for (int p = 0; p < POINTS; p++) *(lanes *)(to + p * s->m_step) = out[p];
    }
  }
}

// Scratch, in floats: of each thread v and m or z, and for gradients the thread's sums.
typedef struct { int64_t v, m, sums, thread; } winograd_parts;

static winograd_parts parts_for(const un_winograd *w, const tiling *s) {
  winograd_parts p = {.v = up_to(POINTS * s->v_step + 2 * LANES, LANES), .m = POINTS * s->m_step};
  if (w->gradient) p.sums = POINTS * up_to(w->in, TILE_ROWS) * w->out;
  p.thread = p.v + p.m + p.sums;
  return p;
}

static void winograd_outputs(const un_winograd *w, void *const *slots, float *scratch, int weights_changed, int threads) {
  const tiling s = tiles_of(w, threads);
  const winograd_parts parts = parts_for(w, &s);
  if (weights_changed) transform_weights(w, slots[w->w], w->u, threads);
#pragma omp parallel num_threads(s.threads) if (s.threads > 1)
  {
    const int64_t me = omp_get_thread_num(), team = omp_get_num_threads();
    float *v = scratch + me * parts.thread, *m = v + parts.v;
    for (int64_t block = s.blocks * me / team; block < s.blocks * (me + 1) / team; block++) {
      transform_input(w, &s, slots[w->x], block * s.block, v);
      for (int p = 0; p < POINTS; p++)
        for (int64_t o = 0; o < w->out; o += TILE_COLUMNS)
          for (int64_t t = 0; t < s.block; t += TILE_ROWS)
            tile(v + p * s.v_step + t * w->in, w->in, 1, w->u + p * w->in * w->out + o * w->in, w->in, m + p * s.m_step + t * w->out + o, w->out, 0);
      transform_output(w, &s, m, block * s.block, w->bias < 0 ? NULL : slots[w->bias], slots[w->y]);
    }
  }
}

static void winograd_gradient(const un_winograd *w, void *const *slots, float *scratch, int threads) {
  const tiling s = tiles_of(w, threads);
  const winograd_parts parts = parts_for(w, &s);
  const int64_t rows = up_to(w->in, TILE_ROWS);
#pragma omp parallel num_threads(s.threads) if (s.threads > 1)
  {
    const int64_t me = omp_get_thread_num(), team = omp_get_num_threads(), first = s.blocks * me / team;
    float *v = scratch + me * parts.thread, *z = v + parts.v, *sums = z + parts.m;
    for (int64_t block = first; block < s.blocks * (me + 1) / team; block++) {
      transform_input(w, &s, slots[w->x], block * s.block, v);
      transform_gradient(w, &s, slots[w->y], block * s.block, z);
      for (int p = 0; p < POINTS; p++)
        for (int64_t o = 0; o < w->out; o += TILE_COLUMNS)
          for (int64_t k = 0; k < rows; k += TILE_ROWS)
            tile(v + p * s.v_step + k, 1, w->in, z + p * s.m_step + o * s.block, s.block,
                 sums + p * rows * w->out + o * rows + k * TILE_COLUMNS, TILE_COLUMNS, block > first);
    }
  }
  float *g = slots[w->w];
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t k = 0; k < w->in; k++)
    for (int64_t o = 0; o < w->out; o += LANES) {
      wide d[36], half[18], out[9];
      const float *sums = scratch + parts.v + parts.m + o / TILE_COLUMNS * TILE_COLUMNS * rows + k * TILE_COLUMNS + o % TILE_COLUMNS;
      for (int p = 0; p < POINTS; p++) {
        d[p] = (wide){0};
        for (int t = 0; t < s.threads; t++) d[p] += __builtin_convertvector(*(const lanes *)(sums + t * parts.thread + p * rows * w->out), wide);
      }
      for (int j = 0; j < 6; j++) weights_gradient_line(d + j, 6, half + j, 6);
      for (int i = 0; i < 3; i++) weights_gradient_line(half + 6 * i, 1, out + 3 * i, 1);
      for (int i = 0; i < 9; i++) {
        float *to = g + w->w_offset + i / 3 * w->w_window[0] + i % 3 * w->w_window[1] + k * w->w_in + o * w->w_out;
        for (int j = 0; j < LANES; j++) to[j * w->w_out] = (float)out[i][j];
      }
    }
}

static void winograd(const un_winograd *w, void *const *slots, void *scratch, int weights_changed, int threads) {
  if (w->gradient) winograd_gradient(w, slots, scratch, threads);
  else winograd_outputs(w, slots, scratch, weights_changed, threads);
}

// Whether the kernel takes these channels.
static int winograd_fits(const un_winograd *w) { return w->in % LANES == 0 && w->in <= DEPTH && w->out % TILE_COLUMNS == 0 && w->out <= DEPTH; }

static size_t winograd_scratch(const un_winograd *w, int threads) {
  const tiling s = tiles_of(w, threads);
  return (size_t)(parts_for(w, &s).thread * threads) * sizeof(float);
}
