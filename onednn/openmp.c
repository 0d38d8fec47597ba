// The kernels' OpenMP runtime is libgomp, loaded at run time rather than linked, for two reasons: how long its threads
// spin at a barrier is read from the environment when it loads, and a machine without it still runs, on one thread.
//
// By default libgomp spins for a million turns. On cores shared with anything else, a spinning thread keeps the one it
// waits for from running: measured, evaluations took ten times longer beside one busy process.
#define _GNU_SOURCE
#include "native.h"

#include <dlfcn.h>
#include <stdlib.h>

static void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
static int (*thread_num)(void), (*num_threads)(void), (*max_threads)(void);
static void (*set_threads)(int), (*set_dynamic)(int);

int un_openmp_load(void) {
  if (parallel) return 1;
  if (!getenv("OMP_WAIT_POLICY")) setenv("GOMP_SPINCOUNT", UN_SPIN_COUNT, 0);
  void *library = dlopen("libgomp.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return 0;
  thread_num = (int (*)(void))dlsym(library, "omp_get_thread_num");
  num_threads = (int (*)(void))dlsym(library, "omp_get_num_threads");
  max_threads = (int (*)(void))dlsym(library, "omp_get_max_threads");
  set_threads = (void (*)(int))dlsym(library, "omp_set_num_threads");
  set_dynamic = (void (*)(int))dlsym(library, "omp_set_dynamic");
  if (thread_num && num_threads && max_threads && set_threads && set_dynamic)
    parallel = (void (*)(void (*)(void *), void *, unsigned, unsigned))dlsym(library, "GOMP_parallel");
  return parallel != NULL;
}

// What the compiler makes of the pragmas calls these.

void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags) {
  if (parallel) parallel(body, data, threads, flags);
  else body(data);
}

int omp_get_thread_num(void) { return parallel ? thread_num() : 0; }
int omp_get_num_threads(void) { return parallel ? num_threads() : 1; }
int omp_get_max_threads(void) { return parallel ? max_threads() : 1; }
void omp_set_num_threads(int n) { if (parallel) set_threads(n); }
void omp_set_dynamic(int on) { if (parallel) set_dynamic(on); }
