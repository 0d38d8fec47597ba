// The kernels that exist once for each instruction set: each kernels_*.c compiles them under its own.
#ifndef UNNOISE_KERNELS_H
#define UNNOISE_KERNELS_H
#include "native.h"
#include "product.h"

typedef struct un_ew un_ew;
struct un_ew {
  un_op op;
  int n_dims, n_in, n_instr, n_out, n_sum, n_regs;
  int64_t dims[UN_MAX_DIMS], total;
  un_ew_in *in;
  un_instr *instr;
  un_ew_out *out;
  un_ew_sum *sum;
  void (*code)(int64_t *);
  size_t code_size;
};

const char *un_run_code(un_op *, void *const *slots);  // of an un_ew with code

typedef struct {
  void (*elementwise)(const un_ew *, void *const *slots);
  // sums[2][channels]: of x−x₀ and (x−x₀)², x₀ being the first row
  void (*moments)(const void *x, int dtype, int64_t rows, int64_t channels, double *sums);
  void (*reduce)(int kind, const void *x, int x_dtype, int64_t outer, int64_t mid, int64_t inner, void *y, int y_dtype);
  void (*softmax)(const float *x, int64_t rows, int64_t n, float *y);
  // y[rows][stride] = exp(scale·x − the row's largest) of n columns, zeros behind them, of float32 or bfloat16; 1 / their sums. x, which is
  // changed, has `piece` columns of all rows, then as many of the next, the last of which may be fewer.
  void (*shares)(float *x, int64_t rows, int64_t n, int64_t piece, int64_t stride, float scale, void *y, int dtype, float *factors);
  void (*scaled_rows)(const float *x, int64_t rows, int64_t n, const float *factors, void *y, int64_t y_stride, int dtype);  // y = x·factor
  void (*product)(const un_product *, void *const *slots, void *scratch, int threads);
  size_t (*product_scratch)(const un_product *, int threads);  // bytes
  void (*winograd)(const un_winograd *, void *const *slots, void *scratch, int weights_changed, int threads);
  int (*winograd_fits)(const un_winograd *);
  size_t (*winograd_scratch)(const un_winograd *, int threads);
  void (*single)(const un_single *, void *const *slots, void *scratch, int threads);
  size_t (*single_scratch)(const un_single *, int threads);  // 0: it does not fit
} un_kernels;

extern const un_kernels un_kernels_portable, un_kernels_avx2, un_kernels_avx512;
const un_kernels *un_current_kernels(void);

static inline int64_t un_gcd(int64_t a, int64_t b) { return b ? un_gcd(b, a % b) : a; }
#endif
