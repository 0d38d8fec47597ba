// oneDNN calls libgomp, by the addresses that the dynamic loader put in a table of the library's. un_redirect puts those of openmp.c there, so that
// the library's work and the kernels' is done by the same threads.
#define _GNU_SOURCE
#include "native.h"

#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct { const char *path; const un_symbol *to; const char *problem; } job;

static int is_openmp(const char *name) { return !strncmp(name, "GOMP_", 5) || !strncmp(name, "omp_", 4) || !strncmp(name, "__kmpc_", 7); }

static void *function_for(const un_symbol *to, const char *name) {
  for (; to->name; to++) if (!strcmp(to->name, name)) return to->function;
  return NULL;
}

// The loader may have made the table read-only.
static int put(void **at, void *function) {
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)at & ~(page - 1);
  if (mprotect((void *)first, page, PROT_READ | PROT_WRITE)) return 0;
  *at = function;
  return 1;
}

// glibc has added the library's place in memory, others have not.
static const void *at(const struct dl_phdr_info *info, const ElfW(Dyn) *d) {
  return (const void *)(d->d_un.d_ptr < info->dlpi_addr ? info->dlpi_addr + d->d_un.d_ptr : d->d_un.d_ptr);
}

static int visit(struct dl_phdr_info *info, size_t size, void *data) {
  job *j = data;
  if (strcmp(info->dlpi_name, j->path)) return 0;
  const ElfW(Dyn) *dynamic = NULL;
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_DYNAMIC) dynamic = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
  const ElfW(Sym) *symbols = NULL;
  const char *names = NULL;
  const ElfW(Rela) *table[2] = {NULL, NULL};
  size_t bytes[2] = {0, 0};
  for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) switch (dynamic->d_tag) {
    case DT_SYMTAB: symbols = at(info, dynamic); break;
    case DT_STRTAB: names = at(info, dynamic); break;
    case DT_RELA: table[0] = at(info, dynamic); break;
    case DT_RELASZ: bytes[0] = dynamic->d_un.d_val; break;
    case DT_JMPREL: table[1] = at(info, dynamic); break;
    case DT_PLTRELSZ: bytes[1] = dynamic->d_un.d_val; break;
  }
  if (!symbols || !names) return 1;
  static char problem[128];
  for (int write = 0; write < 2 && !j->problem; write++)  // all are known, or none is changed
    for (int k = 0; k < 2; k++)
      for (const ElfW(Rela) *r = table[k]; r && r < table[k] + bytes[k] / sizeof *r; r++) {
        const ElfW(Sym) *s = &symbols[ELF64_R_SYM(r->r_info)];
        const char *name = names + s->st_name;
        if (s->st_shndx != SHN_UNDEF || !is_openmp(name)) continue;
        void *function = function_for(j->to, name);
        if (function && (!write || put((void **)(info->dlpi_addr + r->r_offset), function))) continue;
        snprintf(problem, sizeof problem, function ? "its call of %s cannot be changed" : "it calls %s of OpenMP, which is not known here", name);
        j->problem = problem;
      }
  return 1;
}

const char *un_redirect(const char *path, const un_symbol *to) {
  job j = {path, to, NULL};
  dl_iterate_phdr(visit, &j);
  return j.problem;
}
