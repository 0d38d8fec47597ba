// Convolutions and matrix products written as products over pixels; see product.h.
#include "kernels.h"

#include <omp.h>
#include <stdlib.h>

typedef struct {
  un_op op;
  const un_kernels *kernels;
  int scratch, threads, count;
  un_product *products;
} products_op;

static const char *run_products(un_op *op, void *const *slots) {
  const products_op *p = (const products_op *)op;
  for (int i = 0; i < p->count; i++) p->kernels->product(&p->products[i], slots, slots[p->scratch], p->threads);
  return NULL;
}

static void release_products(un_op *op) {
  products_op *p = (products_op *)op;
  for (int i = 0; i < p->count; i++) free(p->products[i].taps);
  free(p->products);
  free(p);
}

static products_op *new_products(int64_t capacity, int scratch) {
  products_op *p = malloc(sizeof *p);
  *p = (products_op){{run_products, release_products}, un_current_kernels(), scratch, omp_get_max_threads(), 0, NULL};
  p->products = calloc((size_t)capacity, sizeof *p->products);
  return p;
}

static un_op *finished(products_op *p, size_t *scratch_bytes) {
  *scratch_bytes = 0;
  for (int i = 0; i < p->count; i++) {
    size_t bytes = p->kernels->product_scratch(&p->products[i], p->threads);
    if (bytes > *scratch_bytes) *scratch_bytes = bytes;
  }
  return &p->op;
}

// The side of a convolution that pixels are of, or that is looked at: dims and strides are N, C, spatial.
typedef struct { int slot, dtype; const int64_t *dims, *strides; } side;

// Output pixel j looks, with tap k, at the position (j·stride + sign·k·dilation + shift) / spread of the input, if that
// is whole. Outputs are taken in phases, period apart, in each of which the same taps meet whole positions.
typedef struct { int64_t stride, spread, sign, dilation, shift, period, phase; } axis;

// Whether tap k looks at whole positions in the axis' phase, and at which one for the phase's first pixel.
static int meets(const axis *a, int64_t k, int64_t *position) {
  const int64_t at = a->phase * a->stride + a->sign * k * a->dilation + a->shift;
  *position = at / a->spread;
  return at % a->spread == 0;
}

// Adds the product for one phase: from in to out. Spatial axes are the last of the three.
static void add_phase(products_op *op, const un_conv_spec *s, const axis *axes, side in, side out, const int64_t *w_dims, const int64_t *w_strides,
                      int w_in, int w_out) {
  un_product p = {.gradient = s->direction == UN_CONV_BACKWARD_WEIGHTS, .groups = s->groups, .batch = out.dims[0],
                  .x = in.slot, .x_dtype = in.dtype, .y = out.slot, .y_dtype = out.dtype,
                  .w = s->weights, .w_dtype = s->weights_dtype, .bias = s->bias, .bias_dtype = s->bias_dtype};
  const int n = s->n_spatial, skip = 3 - n;
  int64_t taps = 1;
  for (int d = 0; d < 3; d++) p.grid[d] = p.size[d] = 1;
  for (int i = 0; i < n; i++) {
    const axis *a = &axes[i];
    const int d = skip + i;
    p.grid[d] = (out.dims[2 + i] - a->phase + a->period - 1) / a->period;
    p.size[d] = in.dims[2 + i];
    p.step[d] = a->period * a->stride / a->spread;
    p.x_grid[d] = p.step[d] * in.strides[2 + i];
    p.y_grid[d] = a->period * out.strides[2 + i];
    p.y_offset += a->phase * out.strides[2 + i];
    taps *= w_dims[i];
  }
  p.taps = malloc((size_t)taps * sizeof *p.taps);
  for (int64_t t = 0; t < taps; t++) {
    un_tap tap = {{0}, 0, 0};
    int64_t rest = t;
    int whole = 1;
    for (int i = n - 1; i >= 0; i--) {
      const int64_t k = rest % w_dims[i];
      rest /= w_dims[i];
      whole &= meets(&axes[i], k, &tap.position[skip + i]);
      tap.x += tap.position[skip + i] * in.strides[2 + i];
      tap.w += k * w_strides[i];
    }
    if (whole) p.taps[p.n_taps++] = tap;
  }
  // A group has its share of the channels of both sides, or of the batch of one.
  p.in = in.dims[1];
  p.out = out.dims[1] / s->groups;
  if (s->batch_groups > 1) {
    p.groups = s->batch_groups;
    p.out = out.dims[1] / p.groups;
    p.x_group = out.dims[0] * in.strides[0];
  } else {
    p.in /= s->groups;
    p.x_group = p.in * in.strides[1];
  }
  p.y_group = p.out * out.strides[1];
  p.x_batch = in.strides[0];
  p.x_channel = in.strides[1];
  p.y_batch = out.strides[0];
  p.y_channel = out.strides[1];
  // Groups divide the output channels of the weights.
  const int64_t *first = s->weights_strides + (s->groups > 1);
  p.w_in = first[w_in];
  p.w_out = first[w_out];
  p.w_group = s->groups > 1 ? s->weights_strides[0] : p.out * p.w_out;
  op->products[op->count++] = p;
}

un_op *un_own_conv(const un_conv_spec *s, int scratch, size_t *scratch_bytes) {
  const int n = s->n_spatial, grouped = s->groups > 1, back = s->direction == UN_CONV_BACKWARD_DATA;
  const int64_t *w_dims = s->weights_dims + 2 + grouped, *w_strides = s->weights_strides + 2 + grouped;
  const side src = {s->src, s->src_dtype, s->src_dims, s->src_strides}, dst = {s->dst, s->dst_dtype, s->dst_dims, s->dst_strides};
  axis axes[3];
  int64_t phases = 1, counts[3]; // phases with a pixel of the output
  for (int i = 0; i < n; i++) {
    axis *a = &axes[i];
    *a = back ? (axis){s->src_spread[i], s->stride[i], -1, s->dilation[i], s->pad_lo[i], 1, 0}
              : (axis){s->stride[i], s->src_spread[i], 1, s->dilation[i], -s->pad_lo[i], 1, 0};
    a->period = a->spread / un_gcd(a->spread, a->stride);
    const int64_t size = (back ? src : dst).dims[2 + i];
    counts[i] = a->period < size ? a->period : size;
    phases *= counts[i];
  }
  products_op *op = new_products(phases, scratch);
  for (int64_t phase = 0; phase < phases; phase++) {
    int64_t rest = phase;
    for (int i = 0; i < n; i++) {
      axes[i].phase = rest % counts[i];
      rest /= counts[i];
    }
    if (back) add_phase(op, s, axes, dst, src, w_dims, w_strides, 0, 1);
    else add_phase(op, s, axes, src, dst, w_dims, w_strides, 1, 0);
  }
  return finished(op, scratch_bytes);
}

typedef struct {
  un_op op;
  const un_kernels *kernels;
  int scratch, threads, prepared;
  un_winograd w;
} winograd_op;

static const char *run_winograd(un_op *op, void *const *slots) {
  const winograd_op *o = (const winograd_op *)op;
  o->kernels->winograd(&o->w, slots, slots[o->scratch], un_weights_are_new() || !o->prepared, o->threads);
  return NULL;
}

static void release_winograd(un_op *op) {
  winograd_op *o = (winograd_op *)op;
  free(o->w.u);
  free(o);
}

// Beyond so many pairs of channels the transformed weights leave the second-level cache. It takes so many tiles to make up for that, forward and for gradients of weights.
enum { WINOGRAD_PAIRS = 128 * 128, WINOGRAD_TILES = 16, WINOGRAD_GRADIENT_TILES = 128 };

// Whether winograd_body.h has a kernel for the spec's windows and steps: 3×3 by 1, or 4×4 by 2, which is 2×2 by 1 in each of four phases.
static int winograd_taps(const un_conv_spec *s) {
  if (s->n_spatial != 2 || s->groups > 1 || s->batch_groups > 1 || s->bias >= 0 && s->direction != UN_CONV_FORWARD || s->src_strides[1] != 1 || s->dst_strides[1] != 1)
    return 0;
  const int64_t window = s->weights_dims[2], step = s->stride[0];
  for (int i = 0; i < 2; i++)
    if (s->weights_dims[2 + i] != window || s->stride[i] != step || s->dilation[i] != 1 || s->src_spread[i] != 1 || s->pad_lo[i] < 0 ||
        s->pad_lo[i] >= window || s->direction == UN_CONV_BACKWARD_DATA && s->src_dims[2 + i] % step != 0)
      return 0;
  return window == 3 && step == 1 ? 3 : window == 4 && step == 2 ? 2 : 0;
}

static int f32_or_bf16(int dtype) { return dtype == UN_F32 || dtype == UN_BF16; }

static int winograd_dtypes(const un_winograd *w) {
  if (!f32_or_bf16(w->w_dtype) || w->bias >= 0 && !f32_or_bf16(w->bias_dtype)) return 0;
  if (w->x_dtype == UN_F32) return w->y_dtype == UN_F32;
  return w->x_dtype == UN_BF16 && (w->y_dtype == UN_BF16 || w->y_dtype == UN_F32 && !w->gradient);
}

// Whether the CPU multiplies the plain sum's bfloat16 faster than Winograd's float32: with AMX always; with instructions for bfloat16, which
// do twice as much, where the windows are 2×2, which saves too little, where tiles reach far beyond the pixels, and where there are few tiles: of a
// picture, or, for gradients of weights, of all.
static int plain_is_faster(const un_winograd *w) {
  const int64_t tiles = ((w->height + 3) / 4) * ((w->width + 3) / 4);
  const double excess = (double)(16 * tiles) / (double)(w->height * w->width);
  const int few = w->gradient ? w->batch * tiles <= 128 : tiles <= 16 || excess > 1.25;
  return w->x_dtype == UN_BF16 && (un_dnnl_amx() || un_dnnl_bf16() && (w->taps == 2 || few));
}

un_op *un_winograd_conv(const un_conv_spec *s, int scratch, size_t *scratch_bytes) {
  const int taps = winograd_taps(s), back = s->direction == UN_CONV_BACKWARD_DATA;
  if (!taps) return NULL;
  winograd_op *o = calloc(1, sizeof *o);
  *o = (winograd_op){{run_winograd, release_winograd, taps == 3 ? "Winograd F(4×4, 3×3)" : "Winograd F(4×4, 2×2)"}, un_current_kernels(), scratch, omp_get_max_threads(), s->weights_prepared};
  un_winograd *w = &o->w;
  // Backwards it is the same, of the gradient and the turned window.
  const int64_t *x_dims = back ? s->dst_dims : s->src_dims, *x_strides = back ? s->dst_strides : s->src_strides;
  const int64_t *y_dims = back ? s->src_dims : s->dst_dims, *y_strides = back ? s->src_strides : s->dst_strides;
  const int64_t step = s->stride[0];
  *w = (un_winograd){
      .gradient = s->direction == UN_CONV_BACKWARD_WEIGHTS, .gelu = s->gelu, .sum = !back, .taps = taps, .n_phases = (int)(step * step),
      .batch = x_dims[0], .in = x_dims[1], .out = y_dims[1], .height = y_dims[2] / (back ? step : 1), .width = y_dims[3] / (back ? step : 1),
      .x = back ? s->dst : s->src, .y = back ? s->src : s->dst, .w = s->weights, .bias = s->bias,
      .x_dtype = back ? s->dst_dtype : s->src_dtype, .y_dtype = back ? s->src_dtype : s->dst_dtype, .w_dtype = s->weights_dtype, .bias_dtype = s->bias_dtype,
      .x_batch = x_strides[0], .y_batch = y_strides[0],
      .w_in = s->weights_strides[back ? 0 : 1], .w_out = s->weights_strides[back ? 1 : 0]};
  if (w->gradient) w->bias = -1;
  for (int i = 0; i < 2; i++) {
    w->x_stride[i] = x_strides[2 + i] * (back ? 1 : step);
    w->y_stride[i] = y_strides[2 + i] * (back ? step : 1);
    w->w_window[i] = s->weights_strides[2 + i] * (back ? -step : step);
  }
  // Output q looks, with tap k, at pixel q·step + k − pad: at one of phase r where k ≡ r + pad, the first of which is `first`.
  for (int phase = 0; phase < w->n_phases; phase++)
    for (int i = 0; i < 2; i++) {
      const int64_t r = i ? phase % step : phase / step, pad = s->pad_lo[i], first = (r + pad) % step, shift = (r + pad - first) / step;
      const int64_t *stride = s->weights_strides + 2 + i;
      if (back) {
        w->phase[phase].x_size[i] = x_dims[2 + i];
        w->phase[phase].pad[i] = taps - 1 - shift;
        w->phase[phase].w += (first + (taps - 1) * step) * *stride;
        w->phase[phase].y += r * y_strides[2 + i];
      } else {
        w->phase[phase].x_size[i] = (x_dims[2 + i] - r + step - 1) / step;
        w->phase[phase].pad[i] = shift;
        w->phase[phase].w += first * *stride;
        w->phase[phase].x += r * x_strides[2 + i];
      }
    }
  const int64_t tiles = w->batch * ((w->height + 3) / 4) * ((w->width + 3) / 4);
  const int many = taps == 3 && w->in * w->out > WINOGRAD_PAIRS;
  w->wide = many && !w->gradient;
  if (!winograd_dtypes(w) || !s->portable && plain_is_faster(w) || !o->kernels->winograd_fits(w) || many && tiles < (w->gradient ? WINOGRAD_GRADIENT_TILES : WINOGRAD_TILES) ||
      !w->gradient && !w->wide && !(w->u = aligned_alloc(64, (size_t)(w->n_phases * (taps + 3) * (taps + 3) * w->in * w->out) * sizeof(float)))) {
    release_winograd(&o->op);
    return NULL;
  }
  *scratch_bytes = o->kernels->winograd_scratch(w, o->threads);
  return &o->op;
}

typedef struct {
  un_op op;
  const un_kernels *kernels;
  int scratch, threads;
  un_single single;
} single_op;

static const char *run_single(un_op *op, void *const *slots) {
  const single_op *o = (const single_op *)op;
  o->kernels->single(&o->single, slots, slots[o->scratch], o->threads);
  return NULL;
}

static void release_single(un_op *op) { free(op); }

un_op *un_single_conv(const un_conv_spec *s, int scratch, size_t *scratch_bytes) {
  if (s->direction == UN_CONV_BACKWARD_DATA || s->n_spatial != 2 || s->groups > 1 || s->batch_groups > 1 || s->gelu || s->dst_dims[1] != 1 ||
      s->src_strides[1] != 1 || !f32_or_bf16(s->src_dtype))
    return NULL;
  for (int i = 0; i < 2; i++)
    if (s->stride[i] != 1 || s->dilation[i] != 1 || s->src_spread[i] != 1 || s->pad_lo[i] < 0 || s->pad_hi[i] < 0 || s->pad_lo[i] >= s->weights_dims[2 + i]) return NULL;
  single_op *o = malloc(sizeof *o);
  *o = (single_op){{run_single, release_single, "to one channel"}, un_current_kernels(), scratch, omp_get_max_threads(),
      {.gradient = s->direction == UN_CONV_BACKWARD_WEIGHTS, .x = s->src, .x_dtype = s->src_dtype, .y = s->dst, .y_dtype = s->dst_dtype,
       .w = s->weights, .w_dtype = s->weights_dtype, .bias = s->bias, .bias_dtype = s->bias_dtype,
       .batch = s->src_dims[0], .in = s->src_dims[1], .height = s->dst_dims[2], .width = s->dst_dims[3],
       .x_size = {s->src_dims[2], s->src_dims[3]}, .pad = {s->pad_lo[0], s->pad_lo[1]}, .taps = {s->weights_dims[2], s->weights_dims[3]},
       .x_batch = s->src_strides[0], .x_stride = {s->src_strides[2], s->src_strides[3]}, .y_batch = s->dst_strides[0], .y_stride = {s->dst_strides[2], s->dst_strides[3]},
       .w_tap = {s->weights_strides[2], s->weights_strides[3]}, .w_in = s->weights_strides[1]}};
  *scratch_bytes = o->kernels->single_scratch(&o->single, o->threads);
  if (*scratch_bytes > 0) return &o->op;
  free(o);
  return NULL;
}

un_op *un_own_matmul(const un_matmul_spec *s, int scratch, size_t *scratch_bytes) {
  const int n = s->n_dims, m = n - 2, k = n - 1, inner = n - 3;  // the innermost dimension of the batch becomes groups
  int64_t outer = 1;
  for (int d = 0; d < inner; d++) outer *= s->c_dims[d];
  products_op *op = new_products(outer, scratch);
  for (int64_t i = 0; i < outer; i++) {
    un_product p = {.groups = 1, .batch = s->c_dims[m], .grid = {1, 1, 1}, .in = s->a_dims[k], .out = s->c_dims[k], .n_taps = 1, .size = {1, 1, 1},
                    .x = s->a, .x_dtype = s->a_dtype, .x_batch = s->a_strides[m], .x_channel = s->a_strides[k],
                    .w = s->b, .w_dtype = s->b_dtype, .w_in = s->b_strides[m], .w_out = s->b_strides[k],
                    .y = s->c, .y_dtype = s->c_dtype, .y_batch = s->c_strides[m], .y_channel = s->c_strides[k], .bias = -1};
    p.taps = calloc(1, sizeof *p.taps);
    int64_t rest = i;
    for (int d = inner; d >= 0; d--) {
      const int64_t a = s->a_dims[d] == 1 ? 0 : s->a_strides[d], b = s->b_dims[d] == 1 ? 0 : s->b_strides[d], c = s->c_strides[d];
      if (d == inner) {
        p.groups = s->c_dims[d];
        p.x_group = a;
        p.w_group = b;
        p.y_group = c;
        continue;
      }
      const int64_t at = rest % s->c_dims[d];
      rest /= s->c_dims[d];
      p.x_offset += at * a;
      p.w_offset += at * b;
      p.y_offset += at * c;
    }
    op->products[op->count++] = p;
  }
  return finished(op, scratch_bytes);
}
