// Built with ../openmp.c by TestOpenMP: regions of all kinds, on more threads than there may be CPUs.
#include "../native.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

void GOMP_parallel_start(void (*)(void *), void *, unsigned);
void GOMP_parallel_end(void);
_Bool GOMP_loop_static_start(long, long, long, long, long *, long *);
_Bool GOMP_loop_static_next(long *, long *);

enum { THREADS = 5, MOST = 60 };

#define CHECK(condition) do { if (!(condition)) { printf("line %d, round %d: %s does not hold\n", __LINE__, round, #condition); exit(1); } } while (0)

static _Atomic int visits[MOST];
static _Atomic int busy[THREADS];

static void count(void *unused) { visits[omp_get_thread_num()]++; }

static long spread(long start, long end, long step, long chunk) {
  long from, to, sum = 0;
  for (_Bool more = GOMP_loop_static_start(start, end, step, chunk, &from, &to); more; more = GOMP_loop_static_next(&from, &to))
    for (long i = from; step > 0 ? i < to : i > to; i += step) sum += 1000 + i;
  return sum;
}

int main(void) {
  int round = -1;
  CHECK(omp_get_max_threads() == 1 && un_parts(100) == 1);
  CHECK(un_set_threads(THREADS) == THREADS && omp_get_max_threads() == THREADS && un_parts(3) == 3 && un_parts(1 << 20) == 8 * THREADS);
  for (round = 0; round < 1000; round++) {
    const int n = 1 + round % MOST;
    for (int i = 0; i < MOST; i++) visits[i] = 0;
#pragma omp parallel num_threads(n)
    {
      CHECK(omp_get_num_threads() == n && un_worker() >= 0 && un_worker() < THREADS);
      CHECK(busy[un_worker()]++ == 0);  // a worker does one part at a time
      visits[omp_get_thread_num()]++;
      if (round % 16 == 0) {
        int inner = 0;
#pragma omp parallel num_threads(3)
        inner += omp_get_num_threads() + omp_get_thread_num();
        CHECK(inner == 1 && omp_get_num_threads() == n);
      }
      busy[un_worker()]--;
    }
    for (int i = 0; i < MOST; i++) CHECK(visits[i] == (i < n));

    // As older compilers write it: the caller has the first part.
    GOMP_parallel_start(count, NULL, (unsigned)n);
    CHECK(omp_get_thread_num() == 0);
    count(NULL);
    GOMP_parallel_end();
    for (int i = 0; i < MOST; i++) CHECK(visits[i] == 2 * (i < n));

    _Atomic int phase[3] = {0, 0, 0};
#pragma omp parallel
    for (int k = 0; k < 3; k++) {
      phase[k]++;
#pragma omp barrier
      CHECK(phase[k] == THREADS);
    }

    _Atomic long sums[4] = {0, 0, 0, 0};
#pragma omp parallel num_threads(n)
    {
      sums[0] += spread(0, 17, 1, 0);
      sums[1] += spread(0, 17, 1, 2);
      sums[2] += spread(17, 0, -3, 0);
      sums[3] += spread(17, 0, -3, 1);
    }
    CHECK(sums[0] == 17 * 1000 + 136 && sums[1] == sums[0] && sums[2] == 6 * 1000 + 57 && sums[3] == sums[2]);
    if (round % 100 == 0) {
      un_end_threads();
      CHECK(omp_get_max_threads() == 1);
      CHECK(un_set_threads(THREADS) == THREADS);
    }
  }
  omp_set_num_threads(1);
#pragma omp parallel
  CHECK(omp_get_num_threads() == 1);
  un_end_threads();
  puts("ok");
}
