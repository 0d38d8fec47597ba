// Lets a program whose library asks for AMX run on a processor without it: preloaded, it answers the library's questions as Sapphire Rapids
// would and carries out the tile instructions in their signal. Right, and slow. See scripts/amx.sh.
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <errno.h>
#include <immintrin.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64, CPUID = 0xa2, GET_PERMISSION = 0x1022, ASK_PERMISSION = 0x1023 };

typedef struct { uint8_t palette, start; uint8_t unused[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } tile_config;

static int permitted;
static __thread tile_config config;
static __thread uint8_t tile[TILES][ROWS][ROW_BYTES];
static struct sigaction next_illegal, next_trap;

// The kernel's word that the process may use tiles.
long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a[6];
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  if (number == SYS_arch_prctl && a[0] == GET_PERMISSION) { *(uint64_t *)a[1] = permitted ? 0x600ff : 0x200ff; return 0; }
  if (number == SYS_arch_prctl && a[0] == ASK_PERMISSION) { permitted = 1; return 0; }
  register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  if (result < 0 && result > -4096) { errno = (int)-result; return -1; }
  return result;
}

static void forward(const struct sigaction *next, int number, siginfo_t *info, void *context) {
  if (next->sa_flags & SA_SIGINFO && next->sa_sigaction) { next->sa_sigaction(number, info, context); return; }
  signal(number, SIG_DFL);
}

static void on_trap(int number, siginfo_t *info, void *context) {
  greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *at = (const uint8_t *)g[REG_RIP];
  if (at[-1] != 0xcc || at[0] != CPUID) { forward(&next_trap, number, info, context); return; }
  const unsigned leaf = (unsigned)g[REG_RAX], sub = (unsigned)g[REG_RCX];
  unsigned a, b, c, d;
  __cpuid_count(leaf, sub, a, b, c, d);
  switch (leaf) {
    case 0: a = 0x20, b = 0x756e6547, c = 0x6c65746e, d = 0x49656e69; break;  // GenuineIntel
    case 1: a = 0x806f8; break;
    case 4: {  // caches of 48 KB, 32 KB, 2 MB and 105 MB
      static const unsigned caches[4][3] = {{0x121, 0x02c0003f, 0x3f}, {0x122, 0x01c0003f, 0x3f}, {0x143, 0x03c0003f, 0x7ff}, {0x4163, 0x0380003f, 0x1bfff}};
      a = sub < 4 ? caches[sub][0] | 1 << 26 : 0, b = sub < 4 ? caches[sub][1] : 0, c = sub < 4 ? caches[sub][2] : 0, d = 0;
      break;
    }
    case 7:
      if (sub == 0) a = 1, d |= 0xf << 22;  // AMX-BF16, AVX512-FP16, AMX-TILE, AMX-INT8
      if (sub == 1) a |= 3 << 4;            // AVX-VNNI, AVX512-BF16
      break;
    case 0xb: a = sub, b = sub < 2 ? sub + 1 : 0, c = sub | (sub < 2 ? sub + 1 : 0) << 8; break;
    case 0x1d: a = sub == 0 ? 1 : sub == 1 ? 8192 | 1024 << 16 : 0, b = sub == 1 ? ROW_BYTES | TILES << 16 : 0, c = sub == 1 ? ROWS : 0, d = 0; break;
    case 0x1e: a = 0, b = sub == 0 ? ROWS | ROW_BYTES << 8 : 0, c = d = 0; break;
  }
  g[REG_RAX] = a, g[REG_RBX] = b, g[REG_RCX] = c, g[REG_RDX] = d;
  g[REG_RIP]++;
}

// fault ends the program where a processor would.
static void fault(const char *why) {
  fprintf(stderr, "emulate: %s\n", why);
  abort();
}

static void configure(const uint8_t *from) {
  memcpy(&config, from, sizeof config);
  memset(tile, 0, sizeof tile);
  int wrong = !permitted || config.palette > 1 || config.start;
  for (int i = 0; i < 14; i++) wrong |= config.unused[i];
  for (int t = 0; t < 16; t++)
    wrong |= config.row_bytes[t] > ROW_BYTES || config.rows[t] > ROWS || t >= TILES && config.rows[t] || !config.rows[t] != !config.row_bytes[t];
  if (wrong) fault("no valid configuration of tiles, or no permission to use them");
}

static void used(int t) {
  if (!config.palette || !config.rows[t]) fault("a tile is not configured");
}

static float widened(const uint8_t *pair, int half) {
  uint16_t bits;
  memcpy(&bits, pair + 2 * half, 2);
  const uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}

static void product(int to, int left, int right) {
  used(to), used(left), used(right);
  if (to == left || to == right || left == right || config.rows[to] != config.rows[left] || config.row_bytes[to] != config.row_bytes[right] ||
      config.row_bytes[left] != 4 * config.rows[right])
    fault("tiles that do not fit each other");
  const int columns = config.row_bytes[to] / 4, pairs = config.row_bytes[left] / 4;
  for (int m = 0; m < config.rows[to]; m++) {
    float *row = (float *)tile[to][m];
    for (int k = 0; k < pairs; k++)
      for (int half = 0; half < 2; half++) {
        const float by = widened(tile[left][m] + 4 * k, half);
        for (int n = 0; n < columns; n++) row[n] += by * widened(tile[right][k] + 4 * n, half);
      }
    memset(tile[to][m] + 4 * columns, 0, (size_t)(ROW_BYTES - 4 * columns));
  }
  for (int m = config.rows[to]; m < ROWS; m++) memset(tile[to][m], 0, ROW_BYTES);
}

// The address of a memory operand and, apart, what its index adds. unit: what a displacement of one byte counts in. Returns the
// operand's length.
static int operand(const greg_t *g, const uint8_t *at, int high_base, int high_index, int unit, uint8_t **base, int64_t *step) {
  static const int name[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  const int mode = at[0] >> 6, has_sib = (at[0] & 7) == 4;
  int length = 1, register_of_base = at[0] & 7, index = 4;
  int scale = 0;
  if (has_sib) scale = at[1] >> 6, index = (at[1] >> 3 & 7) | high_index << 3, register_of_base = at[1] & 7, length = 2;
  int64_t address = mode == 0 && register_of_base == 5 ? 0 : g[name[register_of_base | high_base << 3]];
  if (mode == 1) address += unit * (int8_t)at[length++];
  if (mode == 2 || mode == 0 && register_of_base == 5) {
    int32_t displacement;
    memcpy(&displacement, at + length, 4);
    address += displacement, length += 4;
    if (mode == 0 && !has_sib) address += (int64_t)(at + length);  // it counts from the next instruction
  }
  *base = (uint8_t *)address;
  *step = index == 4 ? 0 : g[name[index]] << scale;
  return length;
}

// Where the signal's frame keeps bytes of vector register n from byte 16·quarter on: in the parts of the processor's standard layout.
static uint8_t *vector_at(ucontext_t *context, int n, int quarter) {
  uint8_t *frame = (uint8_t *)context->uc_mcontext.fpregs;
  unsigned a, offset, c, d;
  const int part = n >= 16 ? 7 : quarter == 0 ? 0 : quarter == 1 ? 2 : 6;
  if (part) __cpuid_count(0xd, part, a, offset, c, d);
  ((uint64_t *)(frame + 512))[0] |= part ? 1 << part : 2;  // it is in use
  if (part == 7) return frame + offset + 64 * (n - 16) + 16 * quarter;
  if (part == 6) return frame + offset + 32 * n + 16 * (quarter - 2);
  return part == 2 ? frame + offset + 16 * n : frame + 160 + 16 * n;
}

// VCVTPH2PSX and VCVTPS2PHX: conversions between half and single precision of AVX512-FP16, which come with AMX. Whether it was one.
static int half_precision(ucontext_t *context) {
  greg_t *g = context->uc_mcontext.gregs;
  const uint8_t *at = (const uint8_t *)g[REG_RIP];
  const int widen = at[4] == 0x13, narrow = at[4] == 0x1d;
  if (at[0] != 0x62 || (at[1] & 7) != (widen ? 6 : 5) || (at[2] & 0x83) != 1 || !widen && !narrow) return 0;
  const int bytes = 16 << (at[3] >> 5 & 3), lanes = bytes / 4, zeroing = at[3] >> 7, masked = at[3] & 7, repeated = at[3] >> 4 & 1, high = !(at[1] & 0x20), wide = !(at[1] & 0x40);
  const int reg = (at[5] >> 3 & 7) | !(at[1] & 0x80) << 3 | !(at[1] & 0x10) << 4, in_register = at[5] >> 6 == 3;
  uint64_t mask = ~(uint64_t)0;
  if (masked) {
    unsigned a, offset, c, d;
    __cpuid_count(0xd, 5, a, offset, c, d);
    mask = ((uint64_t *)((uint8_t *)context->uc_mcontext.fpregs + offset))[masked];
  }
  // The operand in ModRM's r/m is read; of the conversion that narrows into memory there is none in this form.
  const int other = (at[5] & 7) | high << 3 | wide << 4;
  uint8_t from[64], to[64] = {0}, *base = NULL;
  int64_t step = 0;
  int length = 6;
  const int from_bytes = widen ? bytes / 2 : bytes, to_bytes = widen ? bytes : bytes / 2, element = from_bytes / lanes;
  if (in_register) for (int q = 0; q < 4; q++) memcpy(from + 16 * q, vector_at(context, other, q), 16);
  else {
    length = 5 + operand(g, at + 5, high, wide, repeated ? element : from_bytes, &base, &step);
    for (int i = 0; i < lanes; i++)
      if (mask >> i & 1) memcpy(from + i * element, base + step + (repeated ? 0 : i * element), (size_t)element);
  }
  if (!zeroing) for (int q = 0; q < 4; q++) memcpy(to + 16 * q, vector_at(context, reg, q), 16);
  for (int i = 0; i < lanes; i++) {
    if (!(mask >> i & 1)) { if (zeroing) memset(to + i * to_bytes / lanes, 0, (size_t)(to_bytes / lanes)); continue; }
    if (widen) ((float *)to)[i] = _cvtsh_ss(((uint16_t *)from)[i]);
    else ((uint16_t *)to)[i] = _cvtss_sh(((float *)from)[i], 4);
  }
  memset(to + to_bytes, 0, (size_t)(64 - to_bytes));
  for (int q = 0; q < 4; q++) memcpy(vector_at(context, reg, q), to + 16 * q, 16);
  g[REG_RIP] += length;
  return 1;
}

static void on_illegal(int number, siginfo_t *info, void *context) {
  greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *at = (const uint8_t *)g[REG_RIP];
  if (half_precision(context)) return;
  // A three-byte VEX prefix of map 0F38, 128 bits.
  if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || at[2] & 4) { forward(&next_illegal, number, info, context); return; }
  const int prefix = at[2] & 3, operation = at[3], to = at[4] >> 3 & 7, left = at[4] & 7, right = ~(at[2] >> 3) & 7, in_register = at[4] >> 6 == 3;
  int length = 5;
  uint8_t *base = NULL;
  int64_t step = 0;
  if (!in_register) length = 4 + operand(g, at + 4, !(at[1] & 0x20), !(at[1] & 0x40), 1, &base, &step);
  enum { NONE, P66, PF3, PF2 };
  if (operation == 0x4b || operation == 0x49 && prefix == PF2) used(to);
  if (operation == 0x49 && prefix == NONE && !in_register) configure(base);  // LDTILECFG
  else if (operation == 0x49 && prefix == P66) memcpy(base, &config, sizeof config);                                               // STTILECFG
  else if (operation == 0x49 && prefix == NONE) memset(&config, 0, sizeof config);                                                 // TILERELEASE
  else if (operation == 0x49 && prefix == PF2) memset(tile[to], 0, sizeof tile[to]);                                               // TILEZERO
  else if (operation == 0x4b && prefix == PF3)                                                                                     // TILESTORED
    for (int r = 0; r < config.rows[to]; r++) memcpy(base + r * step, tile[to][r], config.row_bytes[to]);
  else if (operation == 0x4b) {                                                                                                    // TILELOADD, TILELOADDT1
    memset(tile[to], 0, sizeof tile[to]);
    for (int r = 0; r < config.rows[to]; r++) memcpy(tile[to][r], base + r * step, config.row_bytes[to]);
  } else if (operation == 0x5c && prefix == PF3) product(to, left, right);                                                         // TDPBF16PS
  else {
    forward(&next_illegal, number, info, context);
    return;
  }
  g[REG_RIP] += length;
}

// The program's own handlers are in place when it opens the library.
void *dlopen(const char *path, int flags) {
  static void *(*real)(const char *, int);
  if (!real) real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
  if (path && strstr(path, "dnnl") && !next_trap.sa_flags) {
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGTRAP, &action, &next_trap);
    action.sa_sigaction = on_illegal;
    sigaction(SIGILL, &action, &next_illegal);
  }
  return real(path, flags);
}
