// The native side of the backend: a program is an array of operations that are run in order on one
// OpenMP pool. Operations refer to arrays by slot; the slots' addresses are given for every run.
#ifndef UNNOISE_NATIVE_H
#define UNNOISE_NATIVE_H

#include <stddef.h>
#include <stdint.h>

enum { UN_MAX_DIMS = 8, UN_LANES = 512 };

// Element types of arrays, and what registers of a cluster (always float32) are loaded from and stored to.
enum { UN_F32, UN_BF16, UN_F16, UN_BOOL, UN_I32 };

typedef struct un_op un_op;
struct un_op {
  // run returns NULL, or a static message that says what failed.
  const char *(*run)(un_op *, void *const *slots);
  void (*release)(un_op *);
  const char *name;  // of the algorithm, for profiles, where there are several; may be NULL
};

const char *un_run(un_op *const *ops, int count, void *const *slots, double *seconds);
void un_release(un_op *);
int un_set_threads(int);     // returns how many there are, of the thread that calls it
void un_end_threads(void);   // of the thread that calls it
int un_parts(int64_t);       // how many parts so many pieces of independent work are computed in
int un_worker(void);         // the thread that computes a part, from 0
int un_isa(void);            // 0 portable, 1 AVX2, 2 AVX-512
void un_limit_isa(int);      // tests: pretend the CPU has no more than this
double un_now(void);

// Has a library call these where it calls functions of these names. Returns NULL, or what it calls of OpenMP that is not among them.
typedef struct { const char *name; void *function; } un_symbol;
extern const un_symbol un_openmp[];
const char *un_redirect(const char *path, const un_symbol *to);

// ---- element-wise clusters

// Instructions of a cluster's program over registers of UN_LANES float32 values.
enum {
  UN_ADD, UN_SUB, UN_MUL, UN_DIV, UN_MAX, UN_MIN, UN_POW, UN_FMA,
  UN_EQ, UN_NE, UN_LT, UN_LE, UN_GT, UN_GE, UN_AND, UN_OR, UN_XOR, UN_WHERE,
  UN_NEG, UN_ABS, UN_EXP, UN_EXPM1, UN_LOG, UN_LOG1P, UN_SQRT, UN_RSQRT, UN_TANH, UN_ERF, UN_LOGISTIC,
  UN_SIN, UN_COS, UN_FLOOR, UN_CEIL, UN_ROUND, UN_SIGN, UN_NOT, UN_ISFINITE, UN_ISNAN,
  UN_GELU, UN_GELU_GRADIENT, UN_ROUND_BF16, UN_ROUND_F16
};

typedef struct { uint8_t op, dst, a, b, c; } un_instr;

typedef struct {
  int32_t slot, dtype;              // slot < 0: the constant `value`
  float value;
  int64_t offset, stride[UN_MAX_DIMS];  // in elements; a stride for each dimension of the iteration
} un_ew_in;

typedef struct {
  int32_t slot, dtype, reg;
  int64_t offset, stride[UN_MAX_DIMS];  // as an input's, the last stride 1
} un_ew_out;

// A sum over the cluster's iteration: of everything (keep == 0), or of each `rows` rows of the innermost dimension (keep == 1), whose
// number the product of some of the innermost other dimensions is.
typedef struct { int32_t slot, dtype, reg, keep; int64_t rows; } un_ew_sum;

// dims: the iteration, outermost first. Inputs load into registers 0..n_in-1. code: machine code of the same program for
// a run of rows (see codegen.go), or none: then it is interpreted.
un_op *un_elementwise(int n_dims, const int64_t *dims, int n_in, const un_ew_in *in, int n_instr, const un_instr *instr,
                      int n_out, const un_ew_out *out, int n_sum, const un_ew_sum *sum, int n_regs, const void *code, size_t code_size);
int un_generated(const un_op *);   // whether it runs generated code
int un_rounds_bf16(void);          // whether the CPU converts float32 to bfloat16 itself; it then takes subnormal numbers for zero

// ---- statistics, reductions, movement

// Mean and biased variance of x[outer][rows][channels] over rows.
un_op *un_moments(int x, int dtype, int64_t outer, int64_t rows, int64_t channels, int mean, int variance);

enum { UN_REDUCE_SUM, UN_REDUCE_MAX, UN_REDUCE_MIN, UN_REDUCE_PRODUCT };
un_op *un_softmax(int x, int64_t rows, int64_t n, int y);  // float32
// y[batch][queries][heads][dim] = softmax(scale·q·kᵀ)·v of k, v[batch][keys][heads][dim], all of dtype, UN_F32 or UN_BF16;
// scale is positive. It works in memory of the slot scratch. NULL where oneDNN is missing or has no such products.
un_op *un_attention(int q, int k, int v, int y, int dtype, int64_t batch, int64_t queries, int64_t keys, int64_t heads, int64_t dim, float scale, int scratch,
                    size_t *scratch_bytes);
// y[outer][inner] = reduction of x[outer][mid][inner] over mid.
un_op *un_reduce(int kind, int x, int x_dtype, int64_t outer, int64_t mid, int64_t inner, int y, int y_dtype);

// dst[i·dst_stride + dst_offset] = src[i·src_stride + src_offset] for every index i of dims; strides and offsets in
// elements of `size` bytes (1, 2, 4, 8). src strides may be zero (broadcast) or negative (reverse).
un_op *un_copy(int size, int n_dims, const int64_t *dims, int src, int64_t src_offset, const int64_t *src_stride,
               int dst, int64_t dst_offset, const int64_t *dst_stride);
// Fills bytes with a repeated element.
un_op *un_fill(int size, const void *element, int64_t count, int dst);

// ---- oneDNN

// Loads the library; returns NULL or what went wrong (static or library-owned text).
const char *un_dnnl_load(const char *path);
const char *un_dnnl_path(void);  // of the library's file
void un_dnnl_version(int *major, int *minor, int *patch);
int un_dnnl_isa(void);
int un_dnnl_bf16(void);  // whether it may use the CPU's instructions for bfloat16
int un_dnnl_amx(void);   // and AMX

enum { UN_CONV_FORWARD, UN_CONV_BACKWARD_DATA, UN_CONV_BACKWARD_WEIGHTS };
// What oneDNN calls source, weights and destination, whatever the direction computes. Strides are in elements.
typedef struct {
  int32_t direction, n_spatial, groups, batch_groups;   // batch_groups: as GoMLX's; more than 1 only forward, without groups
  int32_t src, weights, bias, dst;          // slots; bias < 0: none. Backward weights: bias receives its gradient
  int32_t src_dtype, weights_dtype, bias_dtype, dst_dtype;
  int64_t src_dims[5], src_strides[5];      // N, C, spatial
  int64_t weights_dims[6], weights_strides[6];  // [G,] O, I, spatial
  int64_t dst_dims[5], dst_strides[5];
  int64_t stride[3], dilation[3], pad_lo[3], pad_hi[3];   // dilation: 1 is dense. Padding below zero crops
  int64_t src_spread[3];                                  // dilation of the source, forward only; 1 is dense
  int32_t gelu;               // forward: the result is GELU of what it would be
  int32_t weights_prepared;   // the weights' values, at the same address, change only when un_weights_changed says so
  int32_t portable;           // oneDNN is not in use
} un_conv_spec;
// Whether weights differ from the run before; un_conv_spec.weights_prepared heeds it.
void un_weights_changed(int);
int un_weights_are_new(void);
un_op *un_conv(const un_conv_spec *, const char **error);

typedef struct {
  int32_t n_dims, a, b, c, a_dtype, b_dtype, c_dtype;
  int32_t b_prepared;  // as un_conv_spec.weights_prepared
  int64_t a_dims[6], a_strides[6], b_dims[6], b_strides[6], c_dims[6], c_strides[6];
} un_matmul_spec;
un_op *un_matmul(const un_matmul_spec *, const char **error);

// An array of elements of `size` bytes (2 or 4) and its blocked layout: strides of the array, strides between blocks, and the blocks inside
// each other, outermost first: block[i] elements of dimension index[i]. The array has `have` of the layout's dims; beyond are zeros.
enum { UN_MAX_BLOCKED = 12 };
typedef struct {
  int n_dims, n_blocks, size;
  int64_t dims[UN_MAX_BLOCKED], have[UN_MAX_BLOCKED], from[UN_MAX_BLOCKED], to[UN_MAX_BLOCKED], block[UN_MAX_BLOCKED], index[UN_MAX_BLOCKED];
} un_blocking;
typedef struct un_packing un_packing;
un_packing *un_new_packing(const un_blocking *);
void un_pack_blocks(const un_packing *, const void *src, void *dst);
void un_free_packing(un_packing *);

// Weights in the layout that an operation wants, for all that want the same: the original is then not read.
typedef struct un_packed un_packed;
int un_packs(const un_op *);     // whether the operation lays its weights out; the others must only be called where it does
un_packed *un_pack(un_op *, void *values, const char **error);   // values: of the array that the operation would read
int un_use_packed(un_op *, const un_packed *);  // whether it fits; it must live on. NULL: lay out what is in the slot
void un_free_packed(un_packed *);

// The same on kernels of this package, for what oneDNN refuses and where it is missing. These can't fail. They work in
// memory of the slot scratch, of which they need scratch_bytes.
// The convolution by Winograd's algorithm, or NULL where that does not apply; see winograd_body.h.
un_op *un_winograd_conv(const un_conv_spec *, int scratch, size_t *scratch_bytes);
// The convolution to one channel, or NULL where it is another; see single_body.h.
un_op *un_single_conv(const un_conv_spec *, int scratch, size_t *scratch_bytes);
#if defined(__x86_64__) && __GNUC__ >= 11
#define UN_HAS_BF16_GRADIENT 1  // compilers before know no AMX
#else
#define UN_HAS_BF16_GRADIENT 0
#endif
// The gradient of a convolution's weights from bfloat16, or NULL where that does not apply; see gradient.c.
un_op *un_bf16_gradient(const un_conv_spec *, int scratch, size_t *scratch_bytes);
un_op *un_own_conv(const un_conv_spec *, int scratch, size_t *scratch_bytes);
un_op *un_own_matmul(const un_matmul_spec *, int scratch, size_t *scratch_bytes);

// The name of oneDNN's implementation, or of the algorithm, for profiles; NULL for other operations.
const char *un_implementation(const un_op *);

#endif
