// OpenMP for this package's kernels and for oneDNN: the compiler makes calls to GOMP_… and omp_… of their pragmas, and here these are
// answered. libgomp, which usually answers them, gives each thread its part of a region and waits for all threads: one that another program
// keeps from running then holds up the rest, even if they have done all there is to do.
//
// Here a region is so many parts, as many as it asks threads for. omp_get_thread_num says which part is computed, un_worker which thread
// computes it. Threads first take the parts of their own share, then what is left of others', so that nobody waits for a thread that does not
// come. Results don't depend on who computes a part.
//
// A region whose parts meet at barriers must have no more of them than there are threads. oneDNN, the only one with such regions, asks for no
// more.
#define _GNU_SOURCE
#include "native.h"

#include <limits.h>
#include <linux/futex.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct team team;

typedef struct {
  _Alignas(64) _Atomic uint64_t next;  // of the worker's share: region<<32 | end<<16 | the next part
  team *team;
  int worker;
  pthread_t thread;
} seat;

// Worker 0 is the thread that makes regions.
struct team {
  _Alignas(64) _Atomic int posted;   // regions, and the end
  _Atomic int sleepers;              // who waits for them and needs waking
  _Alignas(64) _Atomic int done;     // parts of the region
  _Atomic int waiting;               // whether worker 0 waits for the last
  _Alignas(64) _Atomic int arrived;  // parts at a barrier
  _Atomic int passed, held;          // barriers; who needs waking there
  _Atomic int ending;
  uint32_t region;
  int size, parts, looks;
  void (*body)(void *);
  void *data;
  seat seats[];
};

static _Thread_local team *own;  // of worker 0
static _Thread_local int most = 1, worker;
// The part that is computed. A region within a part has only one, and depth counts these.
static _Thread_local team *of;
static _Thread_local int part, parts = 1, depth, outer_part, outer_parts;
static _Thread_local struct { long start, end, step, chunk, turn; } loop;

// How often who waits looks before it sleeps: seldom where there are more threads than CPUs.
static int looks_for(int threads) {
  const char *policy = getenv("OMP_WAIT_POLICY"), *count = getenv("GOMP_SPINCOUNT");
  if (count) return *count >= '0' && *count <= '9' ? atoi(count) : INT_MAX;  // "infinite"
  if (policy && !strcasecmp(policy, "passive")) return 0;
  cpu_set_t cpus;
  return sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) < threads ? 100 : 10000;
}

static void sleep_at(_Atomic int *at, int value) { syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0); }
static void wake(_Atomic int *at) { syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

static int looked(const team *t, _Atomic int *at, int value, int is) {
  for (int i = 0; i < t->looks; i++) {
    if ((atomic_load_explicit(at, memory_order_acquire) == value) == is) return 1;
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
  }
  return 0;
}

static void await_change(const team *t, _Atomic int *at, int value, _Atomic int *sleepers) {
  if (looked(t, at, value, 0)) return;
  atomic_fetch_add(sleepers, 1);
  while (atomic_load(at) == value) sleep_at(at, value);
  atomic_fetch_sub(sleepers, 1);
}

static void change(_Atomic int *at, _Atomic int *sleepers) {
  atomic_fetch_add(at, 1);
  if (atomic_load(sleepers)) wake(at);
}

static int take(seat *s) {
  uint64_t v = atomic_load_explicit(&s->next, memory_order_acquire);
  while ((v & 0xffff) < (v >> 16 & 0xffff))
    if (atomic_compare_exchange_weak_explicit(&s->next, &v, v + 1, memory_order_acq_rel, memory_order_acquire)) return (int)(v & 0xffff);
  return -1;
}

// A part that was taken keeps its region from ending, so that what the team says of it stays.
static void begin(team *t, int which) {
  of = t;
  part = which;
  parts = t->parts;
}

static void end(team *t) {
  const int last = atomic_fetch_add(&t->done, 1) + 1 == parts;
  of = NULL;
  part = 0;
  parts = 1;
  if (last && atomic_load(&t->waiting)) wake(&t->done);
}

static void work(team *t) {
  for (int i = 0; i < t->size; i++)
    for (int which; (which = take(&t->seats[(worker + i) % t->size])) >= 0; end(t)) {
      begin(t, which);
      t->body(t->data);
    }
}

static void *serve(void *arg) {
  const seat *s = arg;
  team *t = s->team;
  worker = s->worker;
  for (int seen = 0;;) {
    await_change(t, &t->posted, seen, &t->sleepers);
    seen = atomic_load(&t->posted);
    if (atomic_load(&t->ending)) return NULL;
    work(t);
  }
}

int un_set_threads(int n) {
  const char *limit = getenv("OMP_THREAD_LIMIT");
  if (limit && atoi(limit) > 0 && atoi(limit) < n) n = atoi(limit);
  const size_t bytes = sizeof *own + (size_t)n * sizeof *own->seats;
  if (n <= 1 || !(own = aligned_alloc(_Alignof(team), bytes))) return 1;
  memset(own, 0, bytes);
  own->looks = looks_for(n);
  // Signals are for Go's threads, but for those that say what the thread itself does.
  const int kept[] = {SIGBUS, SIGFPE, SIGILL, SIGPROF, SIGSEGV, SIGTRAP};
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) sigdelset(&blocked, kept[i]);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  for (most = 1; most < n; most++) {
    seat *s = &own->seats[most];
    *s = (seat){.team = own, .worker = most};
    if (pthread_create(&s->thread, NULL, serve, s)) break;
    char name[16];
    snprintf(name, sizeof name, "onednn-%d", most);
    pthread_setname_np(s->thread, name);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return own->size = most;
}

void un_end_threads(void) {
  if (!own) return;
  atomic_store(&own->ending, 1);
  change(&own->posted, &own->sleepers);
  for (int i = 1; i < own->size; i++) pthread_join(own->seats[i].thread, NULL);
  free(own);
  own = NULL;
  most = 1;
}

int un_parts(int64_t pieces) {
  const int64_t fine = !own || of || most == 1 ? 1 : 8 * most;
  return (int)(pieces < 1 ? 1 : pieces < fine ? pieces : fine);
}

int un_worker(void) { return worker; }

static void post(void (*body)(void *), void *data, int n, int taken) {
  team *t = own;
  t->body = body;
  t->data = data;
  t->parts = n;
  t->region++;
  atomic_store_explicit(&t->done, 0, memory_order_relaxed);
  uint64_t first = (uint64_t)taken;
  for (int i = 0; i < t->size; i++) {
    const uint64_t last = ((uint64_t)n * (uint64_t)(i + 1) + (uint64_t)t->size - 1) / (uint64_t)t->size;
    atomic_store_explicit(&t->seats[i].next, (uint64_t)t->region << 32 | last << 16 | first, memory_order_release);
    first = last;
  }
  change(&t->posted, &t->sleepers);
}

static void finish(void) {
  team *t = own;
  work(t);
  if (looked(t, &t->done, t->parts, 1)) return;
  atomic_store(&t->waiting, 1);
  for (int done; (done = atomic_load(&t->done)) != t->parts;) sleep_at(&t->done, done);
  atomic_store(&t->waiting, 0);
}

static int shared(unsigned *n) {
  if (*n == 0) *n = (unsigned)most;
  return own && !of && !depth && *n > 1;
}

static void enter(void) {
  if (depth++) return;
  outer_part = part;
  outer_parts = parts;
  part = 0;
  parts = 1;
}

static void leave(void) {
  if (--depth) return;
  part = outer_part;
  parts = outer_parts;
}

// ---- what compilers make of pragmas

void GOMP_parallel(void (*body)(void *), void *data, unsigned n, unsigned flags) {
  if (shared(&n)) {
    post(body, data, (int)n, 0);
    finish();
    return;
  }
  enter();
  body(data);
  leave();
}

// Between start and end, which older compilers write, the caller computes the first part.
void GOMP_parallel_start(void (*body)(void *), void *data, unsigned n) {
  if (shared(&n)) {
    post(body, data, (int)n, 1);
    begin(own, 0);
  } else enter();
}

void GOMP_parallel_end(void) {
  if (depth) {
    leave();
    return;
  }
  end(own);
  finish();
}

void GOMP_barrier(void) {
  team *t = of;
  if (!t || parts == 1) return;
  const int passed = atomic_load(&t->passed);
  if (atomic_fetch_add(&t->arrived, 1) + 1 < parts) {
    await_change(t, &t->passed, passed, &t->held);
    return;
  }
  atomic_store(&t->arrived, 0);
  change(&t->passed, &t->held);
}

// A chunk of 0: each part has one piece of the loop.
_Bool GOMP_loop_static_next(long *from, long *to) {
  const long count = loop.step > 0 ? (loop.end - loop.start + loop.step - 1) / loop.step : (loop.start - loop.end - loop.step - 1) / -loop.step;
  long first = (loop.turn * parts + part) * loop.chunk, last = first + loop.chunk;
  if (loop.chunk == 0) first = loop.turn ? count : count * part / parts, last = count * (part + 1) / parts;
  loop.turn++;
  if (last > count) last = count;
  if (first >= last) return 0;
  *from = loop.start + first * loop.step;
  *to = loop.start + last * loop.step;
  return 1;
}

_Bool GOMP_loop_static_start(long start, long end, long step, long chunk, long *from, long *to) {
  loop = (typeof(loop)){start, end, step, chunk, 0};
  return GOMP_loop_static_next(from, to);
}

void GOMP_loop_end_nowait(void) {}

int omp_get_thread_num(void) { return part; }
int omp_get_num_threads(void) { return parts; }
int omp_get_max_threads(void) { return of ? 1 : most; }
int omp_in_parallel(void) { return of != NULL; }
void omp_set_num_threads(int n) { most = own && n < own->size ? n : own ? own->size : 1; }

const un_symbol un_openmp[] = {
#define ENTRY(name) {#name, (void *)name}
    ENTRY(GOMP_parallel), ENTRY(GOMP_parallel_start), ENTRY(GOMP_parallel_end), ENTRY(GOMP_barrier), ENTRY(GOMP_loop_static_start),
    ENTRY(GOMP_loop_static_next), ENTRY(GOMP_loop_end_nowait), ENTRY(omp_get_thread_num), ENTRY(omp_get_num_threads), ENTRY(omp_get_max_threads),
    ENTRY(omp_in_parallel), {NULL, NULL}};
