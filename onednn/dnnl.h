// The part of oneDNN's C API, version 3, that this package calls, declared from its documentation: the library is
// loaded at run time, so neither its headers nor the library are needed to build.
#ifndef UNNOISE_DNNL_H
#define UNNOISE_DNNL_H
#include <stdint.h>

typedef struct dnnl_engine *dnnl_engine_t;
typedef struct dnnl_stream *dnnl_stream_t;
typedef struct dnnl_memory *dnnl_memory_t;
typedef struct dnnl_memory_desc *dnnl_memory_desc_t;
typedef struct dnnl_primitive *dnnl_primitive_t;
typedef struct dnnl_primitive_desc *dnnl_primitive_desc_t;
typedef struct dnnl_primitive_attr *dnnl_primitive_attr_t;
typedef struct dnnl_post_ops *dnnl_post_ops_t;
typedef int64_t dnnl_dims_t[12];
typedef struct { int arg; dnnl_memory_t memory; } dnnl_exec_arg_t;
typedef struct { int major, minor, patch; const char *hash; unsigned cpu_runtime, gpu_runtime; } dnnl_version_t;

enum { dnnl_success = 0, dnnl_unimplemented = 3 };
enum { dnnl_f16 = 1, dnnl_bf16 = 2, dnnl_f32 = 3, dnnl_f64 = 7 };
enum { dnnl_cpu = 1, dnnl_in_order = 1 };
enum { dnnl_format_tag_any = 1, dnnl_BA16a64b2a = 384, dnnl_BA16a64b = 506 };
enum { dnnl_forward_training = 64, dnnl_forward_inference = 96 };
enum { dnnl_convolution_direct = 1, dnnl_eltwise_gelu_erf = 0x31 };
enum { dnnl_query_impl_info_str = 8, dnnl_query_src_md = 129, dnnl_query_diff_src_md, dnnl_query_weights_md, dnnl_query_diff_weights_md,
       dnnl_query_dst_md, dnnl_query_diff_dst_md, dnnl_query_scratchpad_md = 136 };
enum { dnnl_query_strides = 14, dnnl_query_ndims_s32 = 256, dnnl_query_dims, dnnl_query_data_type, dnnl_query_submemory_offset_s64, dnnl_query_padded_dims,
       dnnl_query_padded_offsets, dnnl_query_format_kind, dnnl_query_inner_nblks_s32, dnnl_query_inner_blks, dnnl_query_inner_idxs };
enum { dnnl_blocked = 2, dnnl_scratchpad_mode_user = 1 };
enum { DNNL_ARG_SRC = 1, DNNL_ARG_DST = 17, DNNL_ARG_WEIGHTS = 33, DNNL_ARG_BIAS = 41, DNNL_ARG_SCRATCHPAD = 80, DNNL_ARG_DIFF_SRC = 129,
       DNNL_ARG_DIFF_DST = 145, DNNL_ARG_DIFF_WEIGHTS = 161, DNNL_ARG_DIFF_BIAS = 169 };

#define DNNL_FUNCTIONS(F) \
  F(const dnnl_version_t *, dnnl_version, (void)) \
  F(int, dnnl_get_effective_cpu_isa, (void)) \
  F(int, dnnl_set_primitive_cache_capacity, (int)) \
  F(int, dnnl_engine_create, (dnnl_engine_t *, int kind, size_t index)) \
  F(int, dnnl_stream_create, (dnnl_stream_t *, dnnl_engine_t, unsigned flags)) \
  F(int, dnnl_stream_wait, (dnnl_stream_t)) \
  F(int, dnnl_stream_destroy, (dnnl_stream_t)) \
  F(int, dnnl_memory_desc_create_with_strides, (dnnl_memory_desc_t *, int, const dnnl_dims_t, int dtype, const dnnl_dims_t)) \
  F(int, dnnl_memory_desc_create_with_tag, (dnnl_memory_desc_t *, int, const dnnl_dims_t, int dtype, int tag)) \
  F(int, dnnl_memory_desc_equal, (const struct dnnl_memory_desc *, const struct dnnl_memory_desc *)) \
  F(size_t, dnnl_memory_desc_get_size, (const struct dnnl_memory_desc *)) \
  F(int, dnnl_memory_desc_query, (const struct dnnl_memory_desc *, int what, void *)) \
  F(int, dnnl_memory_desc_destroy, (dnnl_memory_desc_t)) \
  F(int, dnnl_memory_desc_clone, (dnnl_memory_desc_t *, const struct dnnl_memory_desc *)) \
  F(int, dnnl_memory_create, (dnnl_memory_t *, const struct dnnl_memory_desc *, dnnl_engine_t, void *)) \
  F(int, dnnl_memory_get_memory_desc, (const struct dnnl_memory *, const struct dnnl_memory_desc **)) \
  F(int, dnnl_memory_set_data_handle, (dnnl_memory_t, void *)) \
  F(int, dnnl_memory_destroy, (dnnl_memory_t)) \
  F(const struct dnnl_memory_desc *, dnnl_primitive_desc_query_md, (const struct dnnl_primitive_desc *, int what, int index)) \
  F(int, dnnl_primitive_desc_query, (const struct dnnl_primitive_desc *, int what, int index, void *)) \
  F(int, dnnl_primitive_desc_next_impl, (dnnl_primitive_desc_t)) \
  F(int, dnnl_primitive_desc_destroy, (dnnl_primitive_desc_t)) \
  F(int, dnnl_primitive_create, (dnnl_primitive_t *, const struct dnnl_primitive_desc *)) \
  F(int, dnnl_primitive_execute, (const struct dnnl_primitive *, dnnl_stream_t, int, const dnnl_exec_arg_t *)) \
  F(int, dnnl_primitive_destroy, (dnnl_primitive_t)) \
  F(int, dnnl_primitive_attr_create, (dnnl_primitive_attr_t *)) \
  F(int, dnnl_primitive_attr_destroy, (dnnl_primitive_attr_t)) \
  F(int, dnnl_primitive_attr_set_scratchpad_mode, (dnnl_primitive_attr_t, int)) \
  F(int, dnnl_primitive_attr_set_post_ops, (dnnl_primitive_attr_t, const struct dnnl_post_ops *)) \
  F(int, dnnl_post_ops_create, (dnnl_post_ops_t *)) \
  F(int, dnnl_post_ops_destroy, (dnnl_post_ops_t)) \
  F(int, dnnl_post_ops_append_eltwise, (dnnl_post_ops_t, int alg, float alpha, float beta)) \
  F(int, dnnl_convolution_forward_primitive_desc_create, (dnnl_primitive_desc_t *, dnnl_engine_t, int prop, int alg, \
    const struct dnnl_memory_desc *src, const struct dnnl_memory_desc *weights, const struct dnnl_memory_desc *bias, const struct dnnl_memory_desc *dst, \
    const dnnl_dims_t, const dnnl_dims_t, const dnnl_dims_t, const dnnl_dims_t, const struct dnnl_primitive_attr *)) \
  F(int, dnnl_convolution_backward_data_primitive_desc_create, (dnnl_primitive_desc_t *, dnnl_engine_t, int alg, \
    const struct dnnl_memory_desc *diff_src, const struct dnnl_memory_desc *weights, const struct dnnl_memory_desc *diff_dst, \
    const dnnl_dims_t, const dnnl_dims_t, const dnnl_dims_t, const dnnl_dims_t, const struct dnnl_primitive_desc *hint, const struct dnnl_primitive_attr *)) \
  F(int, dnnl_convolution_backward_weights_primitive_desc_create, (dnnl_primitive_desc_t *, dnnl_engine_t, int alg, \
    const struct dnnl_memory_desc *src, const struct dnnl_memory_desc *diff_weights, const struct dnnl_memory_desc *diff_bias, const struct dnnl_memory_desc *diff_dst, \
    const dnnl_dims_t, const dnnl_dims_t, const dnnl_dims_t, const dnnl_dims_t, const struct dnnl_primitive_desc *hint, const struct dnnl_primitive_attr *)) \
  F(int, dnnl_matmul_primitive_desc_create, (dnnl_primitive_desc_t *, dnnl_engine_t, const struct dnnl_memory_desc *src, const struct dnnl_memory_desc *weights, \
    const struct dnnl_memory_desc *bias, const struct dnnl_memory_desc *dst, const struct dnnl_primitive_attr *)) \
  F(int, dnnl_reorder_primitive_desc_create, (dnnl_primitive_desc_t *, const struct dnnl_memory_desc *, dnnl_engine_t, const struct dnnl_memory_desc *, dnnl_engine_t, \
    const struct dnnl_primitive_attr *))

#endif
