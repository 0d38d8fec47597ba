// Runs the code that codegen.go writes.
#include "kernels.h"
#include "convert.h"

#include <omp.h>
#include <stdlib.h>

enum { SUM_RUN = 1 << 16 };  // additions to a float32 sum before it goes to its float64 total

// Floats of a sum in a run.
static int64_t lanes_of(const un_ew_sum *s, int64_t width) { return s->keep ? (width + 15) / 16 * 16 : 16; }

// Generated code takes runs of rows that lie at equal distances. Threads share the rows, or where these are few, the columns.
const char *un_run_code(un_op *op, void *const *slots) {
  const un_ew *e = (const un_ew *)op;
  const int nd = e->n_dims;
  const int64_t width = e->dims[nd - 1], rows = e->total / width, group = nd > 1 ? e->dims[nd - 2] : 1;
  int threads = e->total < 16 * UN_LANES ? 1 : omp_get_max_threads();
  const int by_columns = rows < 4 * threads && width >= 4096;
  if (!by_columns && threads > rows) threads = (int)rows;
  // Parts that add up nothing may be many, each worth its while.
  if (threads > 1 && !e->n_sum) threads = un_parts(by_columns ? width / 512 : rows < e->total / (4 * UN_LANES) ? rows : e->total / (4 * UN_LANES));

  int64_t sum_width = 0, total_width = 0;  // of a run, of one thread
  for (int k = 0; k < e->n_sum; k++) {
    sum_width += lanes_of(&e->sum[k], width);
    total_width += lanes_of(&e->sum[k], width) * (e->sum[k].keep ? rows / e->sum[k].rows : 1);
  }
  double *totals = e->n_sum ? calloc((size_t)(threads * total_width), sizeof(double)) : NULL;

#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    const int64_t me = omp_get_thread_num(), team = omp_get_num_threads();
    int64_t first = 0, last = rows, left = 0, right = width;
    if (by_columns) {
      left = (width * me / team) & ~15;
      right = me + 1 == team ? width : (width * (me + 1) / team) & ~15;
    } else {
      first = rows * me / team;
      last = rows * (me + 1) / team;
    }
    float *partial = NULL;
    double *total = NULL;
    int64_t run_limit = rows, column_limit = width;
    if (e->n_sum) {
      partial = aligned_alloc(64, (size_t)sum_width * sizeof(float));
      memset(partial, 0, (size_t)sum_width * sizeof(float));
      total = totals + me * total_width;
      if (column_limit > SUM_RUN) column_limit = SUM_RUN;
      run_limit = SUM_RUN / column_limit < 256 ? SUM_RUN / column_limit : 256;
    }
    int64_t a[2 + e->n_in + e->n_out + e->n_sum];
    for (int64_t column = left; column < right; column += column_limit)
      for (int64_t row = first; row < last;) {
        int64_t in_group = row % group, run = group - in_group;
        if (run > last - row) run = last - row;
        if (run > run_limit) run = run_limit;
        a[0] = run;
        a[1] = right - column < column_limit ? right - column : column_limit;
        int n = 2;
#define PLACE(x) \
        { \
          int64_t rest = row / group, offset = (x).offset + column * (x).stride[nd - 1]; \
          if (nd > 1) offset += in_group * (x).stride[nd - 2]; \
          for (int d = nd - 3; d >= 0; d--) { offset += rest % e->dims[d] * (x).stride[d]; rest /= e->dims[d]; } \
          a[n++] = (x).slot < 0 ? 0 : (int64_t)((char *)slots[(x).slot] + offset * size_of((x).dtype)); \
        }
        for (int k = 0; k < e->n_in; k++) PLACE(e->in[k])
        for (int k = 0; k < e->n_out; k++) PLACE(e->out[k])
#undef PLACE
        float *sum = partial;
        for (int k = 0; k < e->n_sum; k++) {
          a[n++] = (int64_t)(sum + (e->sum[k].keep ? column : 0));
          sum += lanes_of(&e->sum[k], width);
        }
        e->code(a);
        sum = partial;
        double *to = total;
        for (int k = 0; k < e->n_sum; k++) {
          const un_ew_sum *s = &e->sum[k];
          const int64_t lanes = lanes_of(s, width);
          double *own = s->keep ? to + row / s->rows * lanes : to;
          for (int64_t i = 0; i < lanes; i++) { own[i] += sum[i]; sum[i] = 0; }
          sum += lanes;
          to += s->keep ? rows / s->rows * lanes : lanes;
        }
        row += run;
      }
    free(partial);
  }

  double *sum = totals;
  for (int k = 0; k < e->n_sum; k++) {
    const un_ew_sum *s = &e->sum[k];
    const int64_t lanes = lanes_of(s, width), groups = s->keep ? rows / s->rows : 1;
    double all = 0;
    for (int64_t g = 0; g < groups; g++, sum += lanes)
      for (int64_t i = 0; i < lanes; i++) {
        double v = 0;
        for (int t = 0; t < threads; t++) v += sum[t * total_width + i];
        all += v;
        if (s->keep && i < width) store_one(slots[s->slot], g * width + i, s->dtype, (float)v);
      }
    if (!s->keep) store_one(slots[s->slot], 0, s->dtype, (float)all);
  }
  free(totals);
  return NULL;
}
