#define _GNU_SOURCE
#include "dnnl.h"
#include "kernels.h"

#include <dlfcn.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define DECLARE(result, name, arguments) static result (*name) arguments;
DNNL_FUNCTIONS(DECLARE)
#undef DECLARE

static dnnl_engine_t engine;
static dnnl_stream_t stream;

const char *un_dnnl_load(const char *path) {
  if (engine) return NULL;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return dlerror();
#define RESOLVE(result, name, arguments) \
  if (!(name = (result (*) arguments)dlsym(library, #name))) { dlclose(library); return "it lacks " #name " (is it oneDNN version 3?)"; }
  DNNL_FUNCTIONS(RESOLVE)
#undef RESOLVE
  if (dnnl_version()->major != 3) { dlclose(library); return "its version is not 3"; }
  Dl_info info;
  const char *unknown = dladdr((void *)dnnl_version, &info) ? un_redirect(info.dli_fname, un_openmp) : NULL;
  if (unknown) { dlclose(library); return unknown; }
  if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) { engine = NULL; return "dnnl_engine_create failed"; }
  if (dnnl_stream_create(&stream, engine, dnnl_in_order) != dnnl_success) { engine = NULL; return "dnnl_stream_create failed"; }
  return NULL;
}

int un_dnnl_isa(void) { return engine ? dnnl_get_effective_cpu_isa() : 0; }

static int may_use(int isa) {
#ifdef __x86_64__
  return (un_dnnl_isa() & isa) == isa;
#else
  return 0;
#endif
}

int un_dnnl_bf16(void) { return may_use(0xe7); }  // dnnl_cpu_isa_avx512_core_bf16
int un_dnnl_amx(void) { return may_use(0xfef); }  // dnnl_cpu_isa_avx512_core_amx

const char *un_dnnl_path(void) {
  Dl_info info;
  return engine && dladdr((void *)dnnl_version, &info) ? info.dli_fname : NULL;
}

void un_dnnl_version(int *major, int *minor, int *patch) {
  const dnnl_version_t *v = engine ? dnnl_version() : NULL;
  *major = v ? v->major : 0;
  *minor = v ? v->minor : 0;
  *patch = v ? v->patch : 0;
}

// A primitive with its arguments. An argument whose preferred layout differs from the array's is reordered
// into (or out of) a buffer of the operation's own.
enum { MAX_ARGS = 4 };

typedef struct {
  int id, slot, output;
  int prepared;  // weights whose reordered copy is good until un_weights_changed
  const un_packed *packed;        // weights that come reordered
  dnnl_memory_t outside, inside;  // inside is outside where no reorder is needed
  dnnl_primitive_t reorder;
  void *buffer;  // of inside, once it is needed
} argument;

typedef struct {
  un_op op;
  dnnl_primitive_desc_t desc;
  dnnl_primitive_t primitive;
  int n_args;
  argument args[MAX_ARGS];
} primitive_op;

static size_t lines(size_t bytes) { return (bytes + 63) / 64 * 64; }
static size_t size_of(const struct dnnl_memory_desc *desc) { return lines(dnnl_memory_desc_get_size(desc)); }

static const char *reordered(const argument *a) {
  dnnl_exec_arg_t x[2] = {{DNNL_ARG_SRC, a->output ? a->inside : a->outside}, {DNNL_ARG_DST, a->output ? a->outside : a->inside}};
  return dnnl_primitive_execute(a->reorder, stream, 2, x) == dnnl_success ? NULL : "oneDNN: a reorder failed";
}

// Gives the inside of an argument its buffer.
static const char *buffered(argument *a) {
  if (a->buffer) return NULL;
  const struct dnnl_memory_desc *desc;
  dnnl_memory_get_memory_desc(a->inside, &desc);
  if (!(a->buffer = aligned_alloc(64, size_of(desc)))) return "oneDNN: out of memory";
  dnnl_memory_set_data_handle(a->inside, a->buffer);
  return NULL;
}

static const char *run_primitive(un_op *op, void *const *slots) {
  primitive_op *p = (primitive_op *)op;
  dnnl_exec_arg_t x[MAX_ARGS];
  for (int i = 0; i < p->n_args; i++) {
    argument *a = &p->args[i];
    if (!a->packed) dnnl_memory_set_data_handle(a->outside, slots[a->slot]);
    if (a->reorder && !a->packed) {
      const char *error = buffered(a);
      if (!error && !a->output && (un_weights_are_new() || !a->prepared)) error = reordered(a);
      if (error) return error;
    }
    x[i] = (dnnl_exec_arg_t){a->id, a->inside};
  }
  if (dnnl_primitive_execute(p->primitive, stream, p->n_args, x) != dnnl_success) return "oneDNN: a primitive failed";
  for (int i = 0; i < p->n_args; i++)
    if (p->args[i].reorder && p->args[i].output) {
      const char *error = reordered(&p->args[i]);
      if (error) return error;
    }
  dnnl_stream_wait(stream);
  return NULL;
}

static void release_primitive(un_op *op) {
  primitive_op *p = (primitive_op *)op;
  for (int i = 0; i < p->n_args; i++) {
    argument *a = &p->args[i];
    if (a->inside && a->inside != a->outside) dnnl_memory_destroy(a->inside);
    if (a->outside) dnnl_memory_destroy(a->outside);
    if (a->reorder) dnnl_primitive_destroy(a->reorder);
    free(a->buffer);
  }
  if (p->primitive) dnnl_primitive_destroy(p->primitive);
  if (p->desc) dnnl_primitive_desc_destroy(p->desc);
  free(p);
}

static const char *implementation(dnnl_primitive_desc_t desc) {
  const char *name = NULL;
  dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, (void *)&name);
  return name ? name : "";
}

const char *un_implementation(const un_op *op) {
  return op->run == run_primitive ? implementation(((const primitive_op *)op)->desc) : op->name;
}

static int data_type(int dtype) {
  switch (dtype) {
    case UN_BF16: return dnnl_bf16;
    case UN_F16: return dnnl_f16;
    default: return dnnl_f32;
  }
}

// Adds an argument given as the desc of the array and the desc the primitive wants.
static const char *add_argument(primitive_op *p, int id, int slot, int output, const struct dnnl_memory_desc *have, const struct dnnl_memory_desc *want) {
  argument *a = &p->args[p->n_args++];
  *a = (argument){.id = id, .slot = slot, .output = output};
  if (dnnl_memory_create(&a->outside, have, engine, NULL) != dnnl_success) return "oneDNN: out of memory";
  if (dnnl_memory_desc_equal(have, want)) {
    a->inside = a->outside;
    return NULL;
  }
  dnnl_primitive_desc_t reorder;
  if (dnnl_memory_create(&a->inside, want, engine, NULL) != dnnl_success) return "oneDNN: out of memory";
  if (dnnl_reorder_primitive_desc_create(&reorder, output ? want : have, engine, output ? have : want, engine, NULL) != dnnl_success)
    return "oneDNN: no reorder between these layouts";
  int status = dnnl_primitive_create(&a->reorder, reorder);
  dnnl_primitive_desc_destroy(reorder);
  return status == dnnl_success ? NULL : "oneDNN: a reorder could not be created";
}

// ---- packed weights

struct un_packed {
  dnnl_memory_desc_t from, to;  // the array's layout and the packed one
  void *data;
  size_t bytes;
};

static argument *weights_of(un_op *op) {
  primitive_op *p = (primitive_op *)op;
  for (int i = 0; i < p->n_args; i++)
    if (p->args[i].id == DNNL_ARG_WEIGHTS) return &p->args[i];
  return NULL;
}

int un_packs(const un_op *op) {
  if (op->run != run_primitive) return 0;
  const argument *weights = weights_of((un_op *)op);
  return weights && weights->reorder && !weights->output;
}

// Fills b if this is what un_pack_blocks does: the same elements from a plain array to one of blocks.
static int is_blocking(const struct dnnl_memory_desc *from, const struct dnnl_memory_desc *to, un_blocking *b) {
  const struct dnnl_memory_desc *side[2] = {from, to};
  const int64_t *dims[2], *strides[2], *offsets[2], *blocks[2], *index[2];
  int64_t start[2];
  int n_dims[2], n_blocks[2], dtype[2], kind[2];
  for (int i = 0; i < 2; i++)
    if (dnnl_memory_desc_query(side[i], dnnl_query_format_kind, &kind[i]) != dnnl_success || kind[i] != dnnl_blocked ||
        dnnl_memory_desc_query(side[i], dnnl_query_ndims_s32, &n_dims[i]) != dnnl_success ||
        dnnl_memory_desc_query(side[i], dnnl_query_dims, &dims[i]) != dnnl_success ||
        dnnl_memory_desc_query(side[i], dnnl_query_data_type, &dtype[i]) != dnnl_success ||
        dnnl_memory_desc_query(side[i], dnnl_query_submemory_offset_s64, &start[i]) != dnnl_success ||
        dnnl_memory_desc_query(side[i], dnnl_query_padded_offsets, &offsets[i]) != dnnl_success ||
        dnnl_memory_desc_query(side[i], dnnl_query_strides, &strides[i]) != dnnl_success ||
        dnnl_memory_desc_query(side[i], dnnl_query_inner_nblks_s32, &n_blocks[i]) != dnnl_success ||
        dnnl_memory_desc_query(side[i], dnnl_query_inner_blks, &blocks[i]) != dnnl_success ||
        dnnl_memory_desc_query(side[i], dnnl_query_inner_idxs, &index[i]) != dnnl_success)
      return 0;
  if (n_blocks[0] || dtype[0] != dtype[1] || start[0] || start[1] || dtype[0] != dnnl_bf16 && dtype[0] != dnnl_f16 && dtype[0] != dnnl_f32) return 0;
  *b = (un_blocking){n_dims[1], n_blocks[1], dtype[0] == dnnl_f32 ? 4 : 2};
  for (int d = 0; d < b->n_dims; d++) {
    if (offsets[1][d]) return 0;
    b->dims[d] = b->have[d] = dims[1][d];
    b->from[d] = strides[0][d];
    b->to[d] = strides[1][d];
  }
  for (int i = 0; i < b->n_blocks; i++) {
    b->block[i] = blocks[1][i];
    b->index[i] = index[1][i];
  }
  return 1;
}

un_packed *un_pack(un_op *op, void *values, const char **error) {
  const argument *a = weights_of(op);
  const struct dnnl_memory_desc *from, *to;
  dnnl_memory_get_memory_desc(a->outside, &from);
  dnnl_memory_get_memory_desc(a->inside, &to);
  un_packed *packed = calloc(1, sizeof *packed);
  packed->bytes = size_of(to);
  // In huge pages where the system has them, and given back at once when it is freed.
  packed->data = mmap(NULL, packed->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (packed->data == MAP_FAILED) {
    free(packed);
    *error = "oneDNN: out of memory";
    return NULL;
  }
  madvise(packed->data, packed->bytes, MADV_HUGEPAGE);
  dnnl_memory_desc_clone(&packed->from, from);
  dnnl_memory_desc_clone(&packed->to, to);
  un_blocking blocking;
  if (is_blocking(from, to, &blocking)) {
    un_packing *packing = un_new_packing(&blocking);
    un_pack_blocks(packing, values, packed->data);
      un_free_packing(packing);
    return packed;
  }
  dnnl_memory_set_data_handle(a->outside, values);
  dnnl_memory_set_data_handle(a->inside, packed->data);
  *error = reordered(a);
  dnnl_stream_wait(stream);
  dnnl_memory_set_data_handle(a->outside, NULL);
  if (*error) {
    un_free_packed(packed);
    return NULL;
  }
  return packed;
}

int un_use_packed(un_op *op, const un_packed *packed) {
  argument *a = weights_of(op);
  if (packed) {
    const struct dnnl_memory_desc *from, *to;
    dnnl_memory_get_memory_desc(a->outside, &from);
    dnnl_memory_get_memory_desc(a->inside, &to);
    if (!dnnl_memory_desc_equal(from, packed->from) || !dnnl_memory_desc_equal(to, packed->to)) return 0;
  }
  dnnl_memory_set_data_handle(a->inside, packed ? packed->data : a->buffer);
  a->packed = packed;
  return 1;
}

void un_free_packed(un_packed *packed) {
  munmap(packed->data, packed->bytes);
  dnnl_memory_desc_destroy(packed->from);
  dnnl_memory_desc_destroy(packed->to);
  free(packed);
}

static primitive_op *new_primitive(void) {
  primitive_op *p = calloc(1, sizeof *p);
  p->op = (un_op){run_primitive, release_primitive};
  return p;
}

// Whether an element of the window meets nothing but padding.
static int window_in_padding(const un_conv_spec *s) {
  for (int i = 0; i < s->n_spatial; i++)
    for (int64_t k = 0, size = s->weights_dims[2 + i + (s->groups > 1)]; k < size; k++) {
      int met = 0;
      for (int64_t o = 0; o < s->dst_dims[2 + i] && !met; o++) {
        const int64_t at = o * s->stride[i] + k * s->dilation[i] - s->pad_lo[i];
        met = at >= 0 && at < s->src_dims[2 + i];
      }
      if (!met) return 1;
    }
  return 0;
}

// Whether the convolution is of single elements with a stride. oneDNN's kernels "jit_1x1" gather what they read into
// scratch memory then, and in version 3.2 write beyond its end where the channels are no multiple of 16.
static int strided_1x1(const un_conv_spec *s) {
  int strided = 0;
  for (int i = 0; i < s->n_spatial; i++) {
    if (s->weights_dims[2 + i + (s->groups > 1)] != 1) return 0;
    strided |= s->stride[i] > 1;
  }
  return strided;
}

un_op *un_conv(const un_conv_spec *s, const char **error) {
  *error = engine ? NULL : "oneDNN is not there";
  if (s->direction == UN_CONV_BACKWARD_WEIGHTS && s->src_dtype != UN_F32 && window_in_padding(s))
    *error = "oneDNN 3.2 leaves such elements of the gradient unwritten (jit_bf16:avx512_core)";
  if (s->batch_groups > 1) *error = "oneDNN has no groups of the batch";
  for (int i = 0; i < s->n_spatial; i++) {
    if (s->src_spread[i] > 1) *error = "oneDNN has no dilation of the source";
    if (s->pad_lo[i] < 0 || s->pad_hi[i] < 0) *error = "oneDNN's padding does not crop";
  }
  if (*error) return NULL;
  primitive_op *p = new_primitive();
  const int n = s->n_spatial + 2, wn = n + (s->groups > 1);
  dnnl_memory_desc_t src = NULL, weights = NULL, any = NULL, bias = NULL, dst = NULL;
  dnnl_primitive_desc_t hint = NULL;
  int64_t dilation[3];
  for (int i = 0; i < s->n_spatial; i++) dilation[i] = s->dilation[i] - 1;
  dnnl_memory_desc_create_with_strides(&src, n, s->src_dims, data_type(s->src_dtype), s->src_strides);
  dnnl_memory_desc_create_with_strides(&dst, n, s->dst_dims, data_type(s->dst_dtype), s->dst_strides);
  dnnl_memory_desc_create_with_strides(&weights, wn, s->weights_dims, data_type(s->weights_dtype), s->weights_strides);
  dnnl_memory_desc_create_with_tag(&any, wn, s->weights_dims, data_type(s->weights_dtype), dnnl_format_tag_any);
  if (s->bias >= 0) {
    const int64_t channels[1] = {s->dst_dims[1]}, one[1] = {1};
    dnnl_memory_desc_create_with_strides(&bias, 1, channels, data_type(s->bias_dtype), one);
  }
  dnnl_primitive_attr_t attributes = NULL;
  if (s->gelu) {
    dnnl_post_ops_t after = NULL;
    dnnl_post_ops_create(&after);
    dnnl_post_ops_append_eltwise(after, dnnl_eltwise_gelu_erf, 0, 0);
    dnnl_primitive_attr_create(&attributes);
    dnnl_primitive_attr_set_post_ops(attributes, after);
    dnnl_post_ops_destroy(after);
  }
  int status;
  *error = NULL;
  if (s->direction == UN_CONV_FORWARD)
    status = dnnl_convolution_forward_primitive_desc_create(&p->desc, engine, dnnl_forward_inference, dnnl_convolution_direct,
                                                            src, any, bias, dst, s->stride, dilation, s->pad_lo, s->pad_hi, attributes);
  else {
    // The hint's weights must be of the operands' type where the gradient is wanted in float32.
    dnnl_memory_desc_t hint_weights = NULL;
    dnnl_memory_desc_create_with_tag(&hint_weights, wn, s->weights_dims, data_type(s->direction == UN_CONV_BACKWARD_DATA ? s->weights_dtype : s->src_dtype), dnnl_format_tag_any);
    status = dnnl_convolution_forward_primitive_desc_create(&hint, engine, dnnl_forward_training, dnnl_convolution_direct,
                                                            src, hint_weights, NULL, dst, s->stride, dilation, s->pad_lo, s->pad_hi, NULL);
    if (status == dnnl_success && s->direction == UN_CONV_BACKWARD_DATA)
      status = dnnl_convolution_backward_data_primitive_desc_create(&p->desc, engine, dnnl_convolution_direct, src, any, dst,
                                                                    s->stride, dilation, s->pad_lo, s->pad_hi, hint, NULL);
    else if (status == dnnl_success)
      status = dnnl_convolution_backward_weights_primitive_desc_create(&p->desc, engine, dnnl_convolution_direct, src, any, bias, dst,
                                                                       s->stride, dilation, s->pad_lo, s->pad_hi, hint, NULL);
    dnnl_memory_desc_destroy(hint_weights);
  }
  while (status == dnnl_success && strided_1x1(s) && strstr(implementation(p->desc), "jit") && strstr(implementation(p->desc), "1x1"))
    status = dnnl_primitive_desc_next_impl(p->desc);
  if (status != dnnl_success) *error = "oneDNN has no such convolution";
  else if (dnnl_primitive_create(&p->primitive, p->desc) != dnnl_success) *error = "oneDNN could not create the convolution";
  else if (s->direction == UN_CONV_FORWARD) {
    *error = add_argument(p, DNNL_ARG_SRC, s->src, 0, src, src);
    if (!*error) *error = add_argument(p, DNNL_ARG_WEIGHTS, s->weights, 0, weights, dnnl_primitive_desc_query_md(p->desc, dnnl_query_weights_md, 0));
    if (!*error) *error = add_argument(p, DNNL_ARG_DST, s->dst, 1, dst, dst);
    if (!*error && bias) *error = add_argument(p, DNNL_ARG_BIAS, s->bias, 0, bias, bias);
  } else if (s->direction == UN_CONV_BACKWARD_DATA) {
    *error = add_argument(p, DNNL_ARG_DIFF_SRC, s->src, 1, src, src);
    if (!*error) *error = add_argument(p, DNNL_ARG_WEIGHTS, s->weights, 0, weights, dnnl_primitive_desc_query_md(p->desc, dnnl_query_weights_md, 0));
    if (!*error) *error = add_argument(p, DNNL_ARG_DIFF_DST, s->dst, 0, dst, dst);
  } else {
    *error = add_argument(p, DNNL_ARG_SRC, s->src, 0, src, src);
    if (!*error) *error = add_argument(p, DNNL_ARG_DIFF_WEIGHTS, s->weights, 1, weights, dnnl_primitive_desc_query_md(p->desc, dnnl_query_diff_weights_md, 0));
    if (!*error) *error = add_argument(p, DNNL_ARG_DIFF_DST, s->dst, 0, dst, dst);
    if (!*error && bias) *error = add_argument(p, DNNL_ARG_DIFF_BIAS, s->bias, 1, bias, bias);
  }
  for (int i = 0; i < p->n_args; i++)
    if (p->args[i].id == DNNL_ARG_WEIGHTS) p->args[i].prepared = s->weights_prepared;
  if (attributes) dnnl_primitive_attr_destroy(attributes);
  dnnl_memory_desc_t all[] = {src, weights, any, bias, dst};
  for (int i = 0; i < 5; i++) if (all[i]) dnnl_memory_desc_destroy(all[i]);
  if (hint) dnnl_primitive_desc_destroy(hint);
  if (*error) {
    release_primitive(&p->op);
    return NULL;
  }
  return &p->op;
}

un_op *un_matmul(const un_matmul_spec *s, const char **error) {
  *error = engine ? NULL : "oneDNN is not there";
  if (*error) return NULL;
  primitive_op *p = new_primitive();
  dnnl_memory_desc_t a = NULL, b = NULL, any = NULL, c = NULL;
  dnnl_memory_desc_create_with_strides(&a, s->n_dims, s->a_dims, data_type(s->a_dtype), s->a_strides);
  dnnl_memory_desc_create_with_strides(&b, s->n_dims, s->b_dims, data_type(s->b_dtype), s->b_strides);
  if (s->b_prepared) dnnl_memory_desc_create_with_tag(&any, s->n_dims, s->b_dims, data_type(s->b_dtype), dnnl_format_tag_any);
  dnnl_memory_desc_create_with_strides(&c, s->n_dims, s->c_dims, data_type(s->c_dtype), s->c_strides);
  *error = NULL;
  if (dnnl_matmul_primitive_desc_create(&p->desc, engine, a, any ? any : b, NULL, c, NULL) != dnnl_success) *error = "oneDNN has no such matrix product";
  else if (dnnl_primitive_create(&p->primitive, p->desc) != dnnl_success) *error = "oneDNN could not create the matrix product";
  if (!*error) *error = add_argument(p, DNNL_ARG_SRC, s->a, 0, a, a);
  if (!*error) *error = add_argument(p, DNNL_ARG_WEIGHTS, s->b, 0, b, dnnl_primitive_desc_query_md(p->desc, dnnl_query_weights_md, 0));
  if (!*error) *error = add_argument(p, DNNL_ARG_DST, s->c, 1, c, c);
  if (!*error) weights_of(&p->op)->prepared = s->b_prepared;
  dnnl_memory_desc_t all[] = {a, b, any, c};
  for (int i = 0; i < 4; i++) if (all[i]) dnnl_memory_desc_destroy(all[i]);
  if (*error) {
    release_primitive(&p->op);
    return NULL;
  }
  return &p->op;
}

#include "attention_body.h"
