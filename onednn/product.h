// Convolutions and matrix products without oneDNN: what conv.c describes and gemm_body.h computes.
#ifndef UNNOISE_PRODUCT_H
#define UNNOISE_PRODUCT_H
#include <stddef.h>
#include <stdint.h>

// One element of a convolution's window: where it looks, relative to a pixel's position, what that is as an offset in
// x, and the offset of its weights in w.
typedef struct { int64_t position[3], x, w; } un_tap;

// A product over pixels, all offsets and strides in elements:
//
//	y[g, pixel, o] = Σ_tap,i x[g, pixel + tap, i] · w[g, tap, i, o] + bias[g, o]
//
// or, where `gradient` is set, w and bias (a sum over pixels of y) from x and y. A pixel is (n, q₀, q₁, q₂) of
// batch × grid. It looks at position q·step + tap.position of x; beyond [0,size) there are zeros.
typedef struct {
  int gradient;
  int64_t groups, batch, grid[3], in, out;
  int n_taps;
  un_tap *taps;
  int x, x_dtype;
  int64_t step[3], size[3];
  int64_t x_offset, x_batch, x_grid[3], x_channel, x_group;
  int w, w_dtype;
  int64_t w_offset, w_in, w_out, w_group;
  int y, y_dtype;
  int64_t y_offset, y_batch, y_grid[3], y_channel, y_group;
  int bias, bias_dtype;  // bias < 0: none
} un_product;

// Convolutions with steps of 1 and windows of taps×taps, 3 or 2, by winograd_body.h: of x [batch, x_size, in] to y [batch, height, width, out],
// or, where `gradient` is set, the weights' gradient from x and y's. A convolution with steps of 2 has four phases, each
// such a convolution of every other pixel of x (`sum`: they add up to one y) or to every other one of y. Strides are in elements, those of
// channels 1 in x and y; x, y and w are a phase's offsets. x and y are float32 or bfloat16; the arithmetic is float32. Where `wide` is set (3 taps, no gradient), there are so
// many channels that their transformed weights are not kept.
typedef struct {
  int gradient, gelu, sum, wide, taps, n_phases;
  int64_t batch, in, out, height, width;
  int x, y, w, bias;  // slots; bias < 0: none
  int x_dtype, y_dtype, w_dtype, bias_dtype;
  int64_t x_batch, x_stride[2], y_batch, y_stride[2];
  int64_t w_window[2], w_in, w_out;
  struct { int64_t x, x_size[2], pad[2], y, w; } phase[4];
  float *u;  // the transformed weights; NULL where wide
} un_winograd;

// Convolutions with steps of 1 to a single channel, by single_body.h: y[n, q] = Σ_tap,i x[n, q + tap − pad, i]·w[tap, i] + bias, or, where `gradient` is
// set, w and bias from x and y. Strides are in elements, that of channels 1 in x.
typedef struct {
  int gradient, x, x_dtype, y, y_dtype, w, w_dtype, bias, bias_dtype;  // bias < 0: none
  int64_t batch, in, height, width, x_size[2], pad[2], taps[2];
  int64_t x_batch, x_stride[2], y_batch, y_stride[2], w_tap[2], w_in;
} un_single;
#endif
