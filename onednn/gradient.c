// Gradients of convolutions' weights from bfloat16, added up in float32: for each element of the window a product of x, transposed, and dy over all
// pixels,
//
//	dw[tap, i, o] = Σ_n,q x[n, i, q + tap] · dy[n, q, o].
//
// An image's pixels lie one after the other in rows of one pitch, x's with its padding, so that a tap is an offset into x, and of dy there are
// zeros where a row of x is longer. With steps beyond 1 there is such an image of x for each phase of its pixels. Tiles of x hold 16 channels by
// 32 pixels; those of dy 32 pixels, in pairs, by 16 channels. AMX multiplies such tiles, and AVX-512 pairs of pixels, one of x by those of 16
// channels of dy.
#include "kernels.h"

#if UN_HAS_BF16_GRADIENT
#include <immintrin.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")

// PIXELS are a tile's. Steps of so many share x and dy in the first-level cache for all taps, so many that loading and storing sums matters
// little. What is laid out at once leaves room for sums in the second-level cache: 2 MB in processors with AMX, 1 MB in the others.
enum { CHANNELS = 16, PIXELS = 32, BLOCK = 2 * CHANNELS, TILE = CHANNELS * CHANNELS, ROWS = 8, MOST_STEPS = 8, FEW_STEPS = 4, ABSENT = -1 };
enum { LARGE_CACHE = 5 << 18, CACHE = 1 << 19, MOST_SUMS = 8 << 20 };

typedef struct { int64_t x, w; } tap;

typedef struct {
  un_op op;
  int x, y, w, w_dtype, scratch, threads, amx;
  int64_t batch, in, out, x_batch, y_batch, w_in, w_out;
  int64_t x_pixels, y_pixels, phases, images;  // of an image as laid out; images are laid out at once
  int32_t *x_from, *y_from;                    // where a pixel comes from, or ABSENT: [phases][x_pixels], [y_pixels]
  int64_t n_taps;
  tap taps[];
} gradient_op;

// Sixteen channels of 32 pixels: row i of the result has pixels 2i and 2i+1 of each.
static inline void pairs(const uint16_t *image, const int32_t *from, __m512i rows[CHANNELS]) {
  const __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  for (int i = 0; i < CHANNELS; i++) {
    __m256i pixel[2];
    for (int j = 0; j < 2; j++) {
      const int32_t at = from[2 * i + j];
      pixel[j] = at == ABSENT ? _mm256_setzero_si256() : _mm256_loadu_si256((const __m256i *)(image + at));
    }
    rows[i] = _mm512_permutex2var_epi16(_mm512_castsi256_si512(pixel[0]), order, _mm512_castsi256_si512(pixel[1]));
  }
}

// Transposes 16×16 elements of four bytes.
static inline void transpose(__m512i r[CHANNELS]) {
  __m512i s[CHANNELS];
  for (int i = 0; i < CHANNELS; i += 2) {
    s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < CHANNELS; i += 4)
    for (int j = 0; j < 2; j++) {
      r[i + 2 * j] = _mm512_unpacklo_epi64(s[i + j], s[i + j + 2]);
      r[i + 2 * j + 1] = _mm512_unpackhi_epi64(s[i + j], s[i + j + 2]);
    }
  // r[4k + j] has column j of each quarter, of rows 4k to 4k+3.
  for (int j = 0; j < 4; j++) {
    const __m512i low = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88), high = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
    const __m512i low2 = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88), high2 = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    s[j] = _mm512_shuffle_i32x4(low, low2, 0x88);
    s[8 + j] = _mm512_shuffle_i32x4(low, low2, 0xdd);
    s[4 + j] = _mm512_shuffle_i32x4(high, high2, 0x88);
    s[12 + j] = _mm512_shuffle_i32x4(high, high2, 0xdd);
  }
  memcpy(r, s, sizeof s);
}

// to[in][x_pixels] for one phase.
static void lay_x(const gradient_op *o, const uint16_t *image, const int32_t *from, uint16_t *to) {
  for (int64_t i = 0; i < o->in; i += CHANNELS)
    for (int64_t q = 0; q < o->x_pixels; q += PIXELS) {
      __m512i rows[CHANNELS];
      pairs(image + i, from + q, rows);
      transpose(rows);
      for (int c = 0; c < CHANNELS; c++) _mm512_store_si512(to + (i + c) * o->x_pixels + q, rows[c]);
    }
}

// to[out / CHANNELS][…] with a tile for each step; apart: between those of the same step.
static void lay_y(const gradient_op *o, const uint16_t *image, uint16_t *to, int64_t apart) {
  for (int64_t i = 0; i < o->out; i += CHANNELS)
    for (int64_t q = 0; q < o->y_pixels; q += PIXELS) {
      __m512i rows[CHANNELS];
      pairs(image + i, o->y_from + q, rows);
      for (int c = 0; c < CHANNELS; c++) _mm512_store_si512(to + i / CHANNELS * apart + q * CHANNELS + c * PIXELS, rows[c]);
    }
}

// Adds to four tiles of sums, of a block of 32×32 channels, what steps give. x has an address for each; y_apart is from 16 channels to the next.
static inline void multiply_tiles(float *sums, const uint16_t *const *x, int64_t x_row, const uint16_t *y, int64_t y_apart, int64_t steps) {
  const int row = CHANNELS * sizeof(float);
  x_row *= sizeof(uint16_t);
  __asm__ volatile("" ::: "memory");  // gcc does not know what tiles are loaded from
  _tile_loadd(0, sums, row);
  _tile_loadd(1, sums + TILE, row);
  _tile_loadd(2, sums + 2 * TILE, row);
  _tile_loadd(3, sums + 3 * TILE, row);
  for (int64_t s = 0; s < steps; s++, y += PIXELS * CHANNELS) {
    _tile_loadd(4, x[s], x_row);
    _tile_loadd(6, y, row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, y + y_apart, row);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, (const char *)x[s] + CHANNELS * x_row, x_row);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, row);
  _tile_stored(1, sums + TILE, row);
  _tile_stored(2, sums + 2 * TILE, row);
  _tile_stored(3, sums + 3 * TILE, row);
}

static inline void multiply_pairs(float *sums, const uint16_t *const *x, int64_t x_row, const uint16_t *y, int64_t y_apart, int64_t steps) {
  for (int i = 0; i < BLOCK; i += ROWS) {
    float *to = sums + i / CHANNELS * 2 * TILE + i % CHANNELS * CHANNELS;
    __m512 sum[ROWS][2];
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < 2; j++) sum[r][j] = _mm512_load_ps(to + j * TILE + r * CHANNELS);
    for (int64_t s = 0; s < steps; s++) {
      const uint16_t *from = x[s] + i * x_row, *by = y + s * PIXELS * CHANNELS;
      for (int k = 0; k < PIXELS; k += 2, by += PIXELS) {
        const __m512bh left = (__m512bh)_mm512_load_si512(by), right = (__m512bh)_mm512_load_si512(by + y_apart);
        for (int r = 0; r < ROWS; r++) {
          int32_t pair;
          memcpy(&pair, from + r * x_row + k, sizeof pair);
          const __m512bh v = (__m512bh)_mm512_set1_epi32(pair);
          sum[r][0] = _mm512_dpbf16_ps(sum[r][0], v, left);
          sum[r][1] = _mm512_dpbf16_ps(sum[r][1], v, right);
        }
      }
    }
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < 2; j++) _mm512_store_ps(to + j * TILE + r * CHANNELS, sum[r][j]);
  }
}

// Adds what images give to sums[in / BLOCK][out / BLOCK][taps][4 tiles]. x: [images][phases][in][x_pixels], y: [out / CHANNELS][images][y_pixels]
// as tiles.
static void add_images(const gradient_op *o, const uint16_t *x, const uint16_t *y, int64_t images, float *sums) {
  const int64_t most = o->amx ? MOST_STEPS : FEW_STEPS, per_image = o->y_pixels / PIXELS, steps = images * per_image, phase = o->in * o->x_pixels, y_apart = steps * PIXELS * CHANNELS;
  for (int64_t i = 0; i < o->in; i += BLOCK)
    for (int64_t j = 0; j < o->out; j += BLOCK) {
      float *block = sums + (i / BLOCK * (o->out / BLOCK) + j / BLOCK) * o->n_taps * 4 * TILE;
      for (int64_t first = 0; first < steps; first += most) {
        const int64_t now = steps - first < most ? steps - first : most;
        for (int64_t t = 0; t < o->n_taps; t++) {
          const uint16_t *at[MOST_STEPS], *with = y + j / CHANNELS * y_apart + first * PIXELS * CHANNELS;
          for (int64_t s = 0; s < now; s++)
            at[s] = x + (first + s) / per_image * o->phases * phase + i * o->x_pixels + (first + s) % per_image * PIXELS + o->taps[t].x;
          if (o->amx) multiply_tiles(block + t * 4 * TILE, at, o->x_pixels, with, y_apart, now);
          else multiply_pairs(block + t * 4 * TILE, at, o->x_pixels, with, y_apart, now);
        }
      }
    }
}

static int64_t sums_size(const gradient_op *o) { return o->n_taps * o->in * o->out; }
static int64_t layouts_size(const gradient_op *o) { return o->images * (o->phases * o->in * o->x_pixels + o->out * o->y_pixels); }

// Writes a row of a tile to elements of w that are so far apart.
static inline void store(const gradient_op *o, __m512 row, void *w, int64_t to, int64_t apart) {
  if (o->w_dtype == UN_F32) {
    if (apart == 1) _mm512_storeu_ps((float *)w + to, row);
    else _mm512_i32scatter_ps((float *)w + to, _mm512_mullo_epi32(_mm512_set1_epi32((int)apart), _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)), row, sizeof(float));
    return;
  }
  uint16_t narrow[CHANNELS];
  _mm256_storeu_si256((__m256i *)narrow, (__m256i)_mm512_cvtneps_pbh(row));
  if (apart == 1) memcpy((uint16_t *)w + to, narrow, sizeof narrow);
  else for (int c = 0; c < CHANNELS; c++) ((uint16_t *)w)[to + c * apart] = narrow[c];
}

// Adds up the threads' sums of a tile, and writes it to w.
static void add_up(const gradient_op *o, const float *sums, int members, int64_t t, void *w) {
  const int64_t size = sums_size(o), tile = t % 4, tap = t / 4 % o->n_taps, block = t / 4 / o->n_taps, columns = o->out / BLOCK;
  const int64_t i = block / columns * BLOCK + tile / 2 * CHANNELS, j = block % columns * BLOCK + tile % 2 * CHANNELS;
  __m512i rows[CHANNELS];
  for (int r = 0; r < CHANNELS; r++) {
    const float *row = sums + t * TILE + r * CHANNELS;
    __m512 sum = _mm512_load_ps(row);
    for (int m = 1; m < members; m++) sum = _mm512_add_ps(sum, _mm512_load_ps(row + m * size));
    rows[r] = _mm512_castps_si512(sum);
  }
  int64_t to = o->taps[tap].w + i * o->w_in + j * o->w_out, step = o->w_in, apart = o->w_out;
  if (apart != 1) {
    transpose(rows);
    step = o->w_out;
    apart = o->w_in;
  }
  for (int r = 0; r < CHANNELS; r++, to += step) store(o, _mm512_castsi512_ps(rows[r]), w, to, apart);
}

static const char *run_gradient(un_op *op, void *const *slots) {
  const gradient_op *o = (const gradient_op *)op;
  static const struct { uint8_t palette, start, unused[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } shape = {
      .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
  const int64_t size = sums_size(o);
  float *sums = slots[o->scratch];
  int team = 1;
#pragma omp parallel num_threads(o->threads) if (o->threads > 1)
  {
    const int64_t me = omp_get_thread_num(), members = omp_get_num_threads();
    if (me == 0) team = (int)members;
    const int64_t end = o->batch * (me + 1) / members;
    uint16_t *x = (uint16_t *)(sums + o->threads * size) + me * layouts_size(o), *y = x + o->images * o->phases * o->in * o->x_pixels;
    memset(sums + me * size, 0, (size_t)size * sizeof *sums);
    if (o->amx) _tile_loadconfig(&shape);
    for (int64_t n = o->batch * me / members; n < end; n += o->images) {
      const int64_t images = end - n < o->images ? end - n : o->images;
      for (int64_t k = 0; k < images; k++) {
        for (int64_t p = 0; p < o->phases; p++)
          lay_x(o, (const uint16_t *)slots[o->x] + (n + k) * o->x_batch, o->x_from + p * o->x_pixels, x + (k * o->phases + p) * o->in * o->x_pixels);
        lay_y(o, (const uint16_t *)slots[o->y] + (n + k) * o->y_batch, y + k * o->y_pixels * CHANNELS, images * o->y_pixels * CHANNELS);
      }
      add_images(o, x, y, images, sums + me * size);
    }
    if (o->amx) _tile_release();
  }
#pragma omp parallel for schedule(static) num_threads(un_parts(size / TILE)) if (o->threads > 1)
  for (int64_t t = 0; t < size / TILE; t++) add_up(o, sums, team, t, slots[o->w]);
  return NULL;
}

static void release_gradient(un_op *op) {
  gradient_op *o = (gradient_op *)op;
  free(o->x_from);
  free(o->y_from);
  free(o);
}

// What follows runs on any processor, up to where fits says yes.
#pragma GCC pop_options

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static int64_t whole_tiles(int64_t pixels) { return (pixels + PIXELS - 1) / PIXELS; }

// How far a picture's last pixel is from its first.
static int64_t reach(const int64_t *dims, const int64_t *strides) { return (dims[2] - 1) * strides[2] + (dims[3] - 1) * strides[3]; }

static int fits(const un_conv_spec *s, int threads) {
  const int kind = s->direction == UN_CONV_BACKWARD_WEIGHTS && s->n_spatial == 2 && s->groups == 1 && s->batch_groups == 1 && s->bias < 0;
  const int types = s->src_dtype == UN_BF16 && s->dst_dtype == UN_BF16 && (s->weights_dtype == UN_F32 || s->weights_dtype == UN_BF16);
  const int channels = s->src_dims[1] % BLOCK == 0 && s->dst_dims[1] % BLOCK == 0 && s->src_strides[1] == 1 && s->dst_strides[1] == 1;
  return !s->portable && un_isa() == 2 && un_dnnl_bf16() && kind && types && channels && s->src_spread[0] == 1 && s->src_spread[1] == 1 && s->src_dims[0] >= threads &&
         s->weights_dims[2] * s->weights_dims[3] * s->src_dims[1] * s->dst_dims[1] <= MOST_SUMS / (int64_t)sizeof(float) && reach(s->src_dims, s->src_strides) <= INT32_MAX &&
         reach(s->dst_dims, s->dst_strides) <= INT32_MAX;
}

un_op *un_bf16_gradient(const un_conv_spec *s, int scratch, size_t *scratch_bytes) {
  const int threads = omp_get_max_threads(), amx = un_dnnl_amx();
  if (!fits(s, threads)) return NULL;
  const int64_t window[2] = {s->weights_dims[2], s->weights_dims[3]}, height = s->dst_dims[2], width = s->dst_dims[3];
  const int64_t n_taps = window[0] * window[1];
  gradient_op *o = malloc(sizeof *o + (size_t)n_taps * sizeof *o->taps);
  *o = (gradient_op){{run_gradient, release_gradient, amx ? "AMX tiles" : "pairs of pixels"}, s->src, s->dst, s->weights, s->weights_dtype, scratch, threads, amx, s->src_dims[0], s->src_dims[1], s->dst_dims[1],
                     s->src_strides[0], s->dst_strides[0], s->weights_strides[1], s->weights_strides[0]};
  // Tap k of pixel q looks at pixel q + (k·dilation − pad) div stride of those whose position has the remainder (k·dilation − pad) mod stride. The
  // remainders of taps a period apart are the same.
  int64_t low[2], span[2], period[2], remainders[2];
  for (int i = 0; i < 2; i++) {
    low[i] = floor_div(-s->pad_lo[i], s->stride[i]);
    span[i] = floor_div((window[i] - 1) * s->dilation[i] - s->pad_lo[i], s->stride[i]) - low[i];
    period[i] = s->stride[i] / un_gcd(s->stride[i], s->dilation[i]);
    remainders[i] = window[i] < period[i] ? window[i] : period[i];
  }
  const int64_t pitch = width + span[1], phases = remainders[0] * remainders[1];
  o->n_taps = n_taps;
  o->phases = phases;
  o->y_pixels = whole_tiles((height - 1) * pitch + width) * PIXELS;
  // An odd number of cache lines keeps the channels of a tile in different sets of the cache.
  o->x_pixels = (whole_tiles(o->y_pixels + span[0] * pitch + span[1]) | 1) * PIXELS;
  o->images = 1;
  // Small pictures would be mostly padding, and large ones leave the cache.
  const int64_t share = (o->batch + threads - 1) / threads, fitting = (amx ? LARGE_CACHE : CACHE) / (layouts_size(o) * (int64_t)sizeof(uint16_t));
  if (fitting < 1 || 2 * height * width < o->y_pixels) {
    free(o);
    return NULL;
  }
  o->images = fitting < share ? fitting : share;
  for (int64_t t = 0; t < n_taps; t++) {
    int64_t phase = 0, shift = 0, w = 0;
    for (int i = 0; i < 2; i++) {
      const int64_t k = i ? t % window[1] : t / window[1], at = k * s->dilation[i] - s->pad_lo[i], whole = floor_div(at, s->stride[i]);
      phase = phase * remainders[i] + k % period[i];
      shift = shift * pitch + whole - low[i];
      w += k * s->weights_strides[2 + i];
    }
    o->taps[t] = (tap){phase * o->in * o->x_pixels + shift, w};
  }
  o->x_from = malloc((size_t)(phases * o->x_pixels) * sizeof *o->x_from);
  o->y_from = malloc((size_t)o->y_pixels * sizeof *o->y_from);
  for (int64_t p = 0; p < phases * o->x_pixels; p++) {
    const int64_t phase = p / o->x_pixels, q = p % o->x_pixels, k[2] = {phase / remainders[1], phase % remainders[1]}, pixel[2] = {q / pitch, q % pitch};
    int64_t from = 0;
    for (int i = 0; i < 2; i++) {
      const int64_t at = k[i] * s->dilation[i] - s->pad_lo[i], remainder = at - floor_div(at, s->stride[i]) * s->stride[i];
      const int64_t position = (pixel[i] + low[i]) * s->stride[i] + remainder;
      from = from == ABSENT || position < 0 || position >= s->src_dims[2 + i] ? ABSENT : from + position * s->src_strides[2 + i];
    }
    o->x_from[p] = (int32_t)from;
  }
  for (int64_t q = 0; q < o->y_pixels; q++)
    o->y_from[q] = q / pitch < height && q % pitch < width ? (int32_t)(q / pitch * s->dst_strides[2] + q % pitch * s->dst_strides[3]) : ABSENT;
  *scratch_bytes = (size_t)threads * ((size_t)sums_size(o) * sizeof(float) + (size_t)layouts_size(o) * sizeof(uint16_t));
  return &o->op;
}
#else
un_op *un_bf16_gradient(const un_conv_spec *s, int scratch, size_t *scratch_bytes) { return NULL; }
#endif
