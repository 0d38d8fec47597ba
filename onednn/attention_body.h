// Attention without a matrix of all scores: a block of queries meets all keys, the scores stay in the second-level cache, and oneDNN
// multiplies, with whatever units the processor has. Included by dnnl.c. Each head is one thread's, so that the products are made for one.

// c = a·b for a block of so many rows; b is packed.
typedef struct { dnnl_primitive_desc_t desc; dnnl_primitive_t primitive; } block_product;

typedef struct {
  un_op op;
  const un_kernels *kernels;
  int q, k, v, y, dtype, scratch, threads;
  int64_t batch, queries, keys, heads, dim, rows;  // rows: of a block; the last may have fewer
  int64_t piece;                                   // keys that queries are multiplied with at once; the last may have fewer
  float scale;
  block_product scores[2][2], values[2];           // of whole blocks and the last, with whole pieces and the last
  un_packing *pack_keys[2], *pack_values;
  size_t keys_bytes[2], values_bytes, pad_bytes;   // of a thread: a piece of packed keys, packed values, and what the primitives work in
  dnnl_stream_t *streams;                          // of each thread
} attention_op;

enum { LEAST_ROWS = 16, MOST_ROWS = 128, SCORES = 128 << 10 };  // of a block; scores are elements
// oneDNN 3.2 leaves AMX aside where a product has more than so many times as many columns as it adds up.
enum { MOST_COLUMNS = 8 };

// Keys are filled up with zeros to whole blocks, which the library's fast layouts want.
static int64_t row_of(const attention_op *o) { return (o->keys + 63) / 64 * 64; }
static int64_t pieces_of(const attention_op *o) { return (row_of(o) + o->piece - 1) / o->piece; }
static int64_t element_size(const attention_op *o) { return o->dtype == UN_F32 ? 4 : 2; }

// Where a thread keeps things, as offsets in its scratch.
typedef struct { size_t keys, values, queries, scores, shares, sums, totals, pad, all; } attention_parts;

static attention_parts attention_layout(const attention_op *o) {
  attention_parts p = {0};
  p.values = p.keys + (size_t)(pieces_of(o) - 1) * lines(o->keys_bytes[0]) + lines(o->keys_bytes[1]);
  p.queries = p.values + lines(o->values_bytes);
  p.scores = p.queries + lines((size_t)(o->rows * o->dim * element_size(o)));
  p.shares = p.scores + lines((size_t)(o->rows * row_of(o)) * 4);
  p.sums = p.shares + lines((size_t)(o->rows * row_of(o) * element_size(o)));
  p.totals = p.sums + lines((size_t)(o->rows * o->dim) * 4);
  p.pad = p.totals + lines((size_t)o->rows * 4);
  p.all = p.pad + lines(o->pad_bytes);
  return p;
}

static int run_product(const block_product *p, dnnl_stream_t with, void *a, void *b, void *c, void *pad) {
  const int which[4] = {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md, dnnl_query_scratchpad_md};
  const int arg[4] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
  void *const data[4] = {a, b, c, pad};
  dnnl_exec_arg_t x[4] = {{0}};
  int ok = 1;
  for (int i = 0; i < 4; i++) {
    x[i].arg = arg[i];
    ok &= dnnl_memory_create(&x[i].memory, dnnl_primitive_desc_query_md(p->desc, which[i], 0), engine, data[i]) == dnnl_success;
  }
  ok = ok && dnnl_primitive_execute(p->primitive, with, 4, x) == dnnl_success;
  for (int i = 0; i < 4; i++) if (x[i].memory) dnnl_memory_destroy(x[i].memory);
  return ok;
}

static const char *run_attention(un_op *op, void *const *slots) {
  const attention_op *o = (const attention_op *)op;
  const attention_parts parts = attention_layout(o);
  const int64_t size = element_size(o), heads = o->batch * o->heads, stride = o->heads * o->dim, wide = row_of(o), pieces = pieces_of(o);
  int failed = 0;
  // in a region in any case: the products are made for one thread
#pragma omp parallel for schedule(static) num_threads(heads > 1 ? un_parts(heads) : o->threads)
  for (int64_t h = 0; h < heads; h++) {
    char *own = (char *)slots[o->scratch] + (size_t)un_worker() * parts.all;
    const dnnl_stream_t with = o->streams[un_worker()];
    const int64_t n = h / o->heads, head = h % o->heads;
    const int64_t keys = (n * o->keys * o->heads + head) * o->dim * size, queries = (n * o->queries * o->heads + head) * o->dim * size;
    for (int64_t p = 0; p < pieces; p++)
      un_pack_blocks(o->pack_keys[p + 1 == pieces], (char *)slots[o->k] + keys + p * o->piece * stride * size, own + parts.keys + (size_t)p * lines(o->keys_bytes[0]));
    un_pack_blocks(o->pack_values, (char *)slots[o->v] + keys, own + parts.values);
    float *scores = (float *)(own + parts.scores), *sums = (float *)(own + parts.sums), *totals = (float *)(own + parts.totals);
    for (int64_t first = 0; first < o->queries && !failed; first += o->rows) {
      const int64_t rows = o->queries - first < o->rows ? o->queries - first : o->rows;
      const int last = rows < o->rows;
      const char *q = (char *)slots[o->q] + queries + first * stride * size;
      char *y = (char *)slots[o->y] + queries + first * stride * size, *dense = own + parts.queries;
      for (int64_t i = 0; i < rows; i++) memcpy(dense + i * o->dim * size, q + i * stride * size, (size_t)(o->dim * size));
      for (int64_t p = 0; p < pieces; p++)
        if (!run_product(&o->scores[last][p + 1 == pieces], with, dense, own + parts.keys + (size_t)p * lines(o->keys_bytes[0]), scores + rows * p * o->piece, own + parts.pad)) failed = 1;
      o->kernels->shares(scores, rows, o->keys, o->piece, wide, o->scale, own + parts.shares, o->dtype, totals);
      if (!run_product(&o->values[last], with, own + parts.shares, own + parts.values, sums, own + parts.pad)) failed = 1;
      o->kernels->scaled_rows(sums, rows, o->dim, totals, y, stride, o->dtype);
    }
  }
  return failed ? "oneDNN: a product of attention failed" : NULL;
}

static void release_attention(un_op *op) {
  attention_op *o = (attention_op *)op;
  block_product *all[6] = {&o->scores[0][0], &o->scores[0][1], &o->scores[1][0], &o->scores[1][1], &o->values[0], &o->values[1]};
  for (int i = 0; i < 6; i++) {
    if (all[i]->primitive) dnnl_primitive_destroy(all[i]->primitive);
    if (all[i]->desc) dnnl_primitive_desc_destroy(all[i]->desc);
  }
  for (int t = 0; o->streams && t < o->threads; t++) if (o->streams[t]) dnnl_stream_destroy(o->streams[t]);
  free(o->streams);
  for (int i = 0; i < 2; i++) un_free_packing(o->pack_keys[i]);
  un_free_packing(o->pack_values);
  free(o);
}

// The product of [m,k] and [k,n], packed as b says, or if that is NULL as the library multiplies fastest. Rows are dense: its fast kernels want
// that of the first.
static int new_product(block_product *p, int dtype, int64_t m, int64_t k, int64_t n, const struct dnnl_memory_desc *b) {
  dnnl_memory_desc_t a = NULL, packed = NULL, any = NULL, c = NULL;
  dnnl_primitive_attr_t attr = NULL;
  const dnnl_dims_t a_dims = {m, k}, b_dims = {k, n}, c_dims = {m, n}, a_strides = {k, 1}, c_strides = {n, 1};
  int ok = dnnl_memory_desc_create_with_strides(&a, 2, a_dims, data_type(dtype), a_strides) == dnnl_success &&
           dnnl_memory_desc_create_with_tag(&packed, 2, b_dims, data_type(dtype), dtype == UN_F32 ? dnnl_BA16a64b : dnnl_BA16a64b2a) == dnnl_success &&
           dnnl_memory_desc_create_with_tag(&any, 2, b_dims, data_type(dtype), dnnl_format_tag_any) == dnnl_success &&
           dnnl_memory_desc_create_with_strides(&c, 2, c_dims, dnnl_f32, c_strides) == dnnl_success &&
           dnnl_primitive_attr_create(&attr) == dnnl_success && dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success;
  const struct dnnl_memory_desc *const choice[2] = {b ? b : packed, b ? b : any};
  for (int i = 0; i < 2 && ok && !p->desc; i++)
    if (dnnl_matmul_primitive_desc_create(&p->desc, engine, a, choice[i], NULL, c, attr) == dnnl_success && i == 0 && strstr(implementation(p->desc), "ref")) {
      dnnl_primitive_desc_destroy(p->desc);
      p->desc = NULL;
    }
  ok = ok && p->desc && dnnl_primitive_create(&p->primitive, p->desc) == dnnl_success;
  const dnnl_memory_desc_t all[4] = {a, packed, any, c};
  for (int i = 0; i < 4; i++) if (all[i]) dnnl_memory_desc_destroy(all[i]);
  if (attr) dnnl_primitive_attr_destroy(attr);
  return ok;
}

// How [k,n] with these strides, of which only `have` is there, is packed for p; its size in bytes, or 0 if un_pack_blocks does not do that.
static size_t packing_for(const block_product *p, int dtype, int64_t k, int64_t n, int64_t k_stride, int64_t n_stride, const int64_t *have, un_packing **packing) {
  un_blocking b;
  dnnl_memory_desc_t plain = NULL;
  const dnnl_dims_t dims = {k, n}, strides = {k_stride, n_stride};
  const struct dnnl_memory_desc *packed = dnnl_primitive_desc_query_md(p->desc, dnnl_query_weights_md, 0);
  if (dnnl_memory_desc_create_with_strides(&plain, 2, dims, data_type(dtype), strides) != dnnl_success) return 0;
  const int ok = is_blocking(plain, packed, &b);
  dnnl_memory_desc_destroy(plain);
  if (!ok) return 0;
  for (int d = 0; d < 2; d++) b.have[d] = have[d];
  *packing = un_new_packing(&b);
  return dnnl_memory_desc_get_size(packed);
}

static int new_block(attention_op *o, block_product *p, int64_t m, int64_t k, int64_t n, const block_product *like) {
  const struct dnnl_memory_desc *packed = like ? dnnl_primitive_desc_query_md(like->desc, dnnl_query_weights_md, 0) : NULL;
  if (!new_product(p, o->dtype, m, k, n, packed)) return 0;
  const size_t bytes = dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0));
  if (bytes > o->pad_bytes) o->pad_bytes = bytes;
  return 1;
}

static int make_attention(attention_op *o) {
  const int64_t stride = o->heads * o->dim, wide = row_of(o), rows[2] = {o->rows, o->queries % o->rows};
  const int64_t behind = (pieces_of(o) - 1) * o->piece, width[2] = {behind ? o->piece : 0, wide - behind}, have[2] = {o->piece, o->keys - behind};
  for (int p = 0; p < 2; p++) {
    for (int i = 0; i < 2 && width[p]; i++)
      if (rows[i] && !new_block(o, &o->scores[i][p], rows[i], o->dim, width[p], i ? &o->scores[0][p] : NULL)) return 0;
    if (width[p] && !(o->keys_bytes[p] = packing_for(&o->scores[0][p], o->dtype, o->dim, width[p], 1, stride, (const int64_t[]){o->dim, have[p]}, &o->pack_keys[p]))) return 0;
  }
  for (int i = 0; i < 2; i++)
    if (rows[i] && !new_block(o, &o->values[i], rows[i], wide, o->dim, i ? &o->values[0] : NULL)) return 0;
  o->values_bytes = packing_for(&o->values[0], o->dtype, wide, o->dim, stride, 1, (const int64_t[]){o->keys, o->dim}, &o->pack_values);
  if (o->values_bytes == 0) return 0;
  o->streams = calloc((size_t)o->threads, sizeof *o->streams);
  for (int t = 0; t < o->threads; t++) if (dnnl_stream_create(&o->streams[t], engine, dnnl_in_order) != dnnl_success) return 0;
  return 1;
}

un_op *un_attention(int q, int k, int v, int y, int dtype, int64_t batch, int64_t queries, int64_t keys, int64_t heads, int64_t dim, float scale, int scratch,
                    size_t *scratch_bytes) {
  if (!engine) return NULL;
  attention_op *o = calloc(1, sizeof *o);
  const int threads = omp_get_max_threads();
  int64_t rows = LEAST_ROWS;
  while (2 * rows <= MOST_ROWS && 2 * rows * keys <= SCORES) rows *= 2;
  *o = (attention_op){.op = {run_attention, release_attention}, .kernels = un_current_kernels(), .q = q, .k = k, .v = v, .y = y, .dtype = dtype, .scratch = scratch,
                      .threads = threads, .batch = batch, .queries = queries, .keys = keys, .heads = heads, .dim = dim, .rows = rows < queries ? rows : queries, .scale = scale};
  const int64_t blocks = row_of(o) / 64, most = MOST_COLUMNS * dim < 64 ? 1 : MOST_COLUMNS * dim / 64, pieces = (blocks + most - 1) / most;
  o->piece = (blocks + pieces - 1) / pieces * 64;
  omp_set_num_threads(1);  // what a primitive is made for
  const int ok = make_attention(o);
  omp_set_num_threads(threads);
  if (!ok) {
    release_attention(&o->op);
    return NULL;
  }
  *scratch_bytes = (size_t)threads * attention_layout(o).all;
  return &o->op;
}
