package onednn

/*
#cgo CFLAGS: -O3 -fopenmp
#cgo LDFLAGS: -lm -ldl
#include <stdlib.h>
#include "native.h"
*/
import "C"

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/pkg/errors"

	"github.com/unnoise/unnoise/internal/cachedir"
	"github.com/unnoise/unnoise/internal/cgroup"
	"github.com/unnoise/unnoise/onednn/internal/graph"
	"github.com/unnoise/unnoise/onednn/internal/passes"
)

// BackendName is the name to use in GOMLX_BACKEND.
const BackendName = "onednn"

func init() { compute.Register(BackendName, New) }

var errFinalized = errors.New("onednn: the backend was finalized")

// Options configure a backend; the zero value is the default.
type Options struct {
	// Threads is the number of threads for native work. 0 means what OMP_NUM_THREADS says, or else one for each CPU
	// that the process may use: quotas of containers count, and are rounded up.
	Threads int
	// Portable does without oneDNN, as where it is not found.
	Portable bool
	// Without names optimizations to leave out, to see what they earn: those that Optimizations lists.
	Without []string
}

// Optimizations lists what Options.Without may name: the passes over the graph, then what lowering does.
func Optimizations() []string {
	return append([]string{"fusion", "code", "preparation", "winograd", "gradient", "single", "attention"},
		passes.Names()...)
}

// Backend is a GoMLX compute backend for CPUs. It is safe for concurrent use; executions take turns.
type Backend struct {
	threads   int
	portable  bool
	without   map[string]bool
	fallback  compute.Backend
	memory    memory
	scratch   arena
	work      chan *job
	alive     sync.RWMutex  // held for reading by whoever waits for the native thread
	ended     chan struct{} // closed when that has ended
	finalized atomic.Bool

	// Touched on the native thread only.
	profile *profile
	live    map[*executable]bool // not yet released
}

// New makes a backend from a configuration: comma-separated threads=N, portable and without=NAME+NAME,
// all optional; see Options.
func New(config string) (compute.Backend, error) {
	var o Options
	for _, field := range strings.FieldsFunc(config, func(r rune) bool { return r == ',' }) {
		key, v, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch key {
		case "threads":
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 {
				return nil, errors.Errorf("onednn: threads=%q in the configuration: want a whole number from 1", v)
			}
			o.Threads = n
		case "portable":
			o.Portable = true
		case "without":
			o.Without = strings.Split(v, "+")
		default:
			return nil, errors.Errorf("onednn: unknown option %q in the configuration; there are threads=N, portable "+
				"and without=NAME+NAME", key)
		}
	}
	return NewWithOptions(o)
}

// NewWithOptions makes a backend. A missing oneDNN is no error: what it would do is done on slower paths; see Library.
func NewWithOptions(o Options) (*Backend, error) {
	without := map[string]bool{}
	for _, name := range o.Without {
		if !slices.Contains(Optimizations(), name) {
			return nil, errors.Errorf("onednn: there is no optimization %q to leave out; there are %s", name,
				strings.Join(Optimizations(), ", "))
		}
		without[name] = true
	}
	load()
	fallback, err := gobackend.New("")
	if err != nil {
		return nil, err
	}
	b := &Backend{threads: o.Threads, portable: o.Portable, without: without, fallback: fallback, work: make(chan *job),
		ended: make(chan struct{}), live: map[*executable]bool{}}
	if b.threads == 0 {
		b.threads = defaultThreads()
	}
	started := make(chan struct{})
	go b.serve(started)
	<-started
	return b, nil
}

// defaultThreads is OMP_NUM_THREADS, or else the number of CPUs that the process may use by its affinity, GOMAXPROCS
// and its container's quota, rounded up.
func defaultThreads() int {
	first, _, _ := strings.Cut(os.Getenv("OMP_NUM_THREADS"), ",") // one for each level of nested regions
	if n, err := strconv.Atoi(strings.TrimSpace(first)); err == nil && n > 0 {
		return n
	}
	n := runtime.GOMAXPROCS(0) // which heeds quotas, but not those below 2
	if quota := cgroup.Read().CPUs; quota > 0 {
		n = min(n, int(math.Ceil(quota)))
	}
	return n
}

// serve runs native work on one thread of the operating system, which shares it with the others: see openmp.c.
func (b *Backend) serve(started chan<- struct{}) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	b.threads = int(C.un_set_threads(C.int(b.threads)))
	close(started)
	for j := range b.work {
		j.serve()
	}
	for e := range b.live {
		e.release()
	}
	b.scratch.release()
	C.un_end_threads()
	close(b.ended)
}

// job is work for the native thread. Jobs are used again and again.
type job struct {
	f    func() error
	err  error
	done chan struct{}
}

var jobs = sync.Pool{New: func() any { return &job{done: make(chan struct{}, 1)} }}

func (j *job) serve() {
	defer func() {
		if r := recover(); r != nil {
			j.err = errors.Errorf("onednn: internal error, please report it: %v", r)
		}
		j.done <- struct{}{}
	}()
	j.err = j.f()
}

// do runs f on the native thread and waits for it.
func (b *Backend) do(f func() error) error {
	b.alive.RLock()
	defer b.alive.RUnlock()
	if b.finalized.Load() {
		return errFinalized
	}
	j := jobs.Get().(*job)
	j.f, j.err = f, nil
	b.work <- j
	<-j.done
	err := j.err
	j.f, j.err = nil, nil
	jobs.Put(j)
	return err
}

// Name returns "onednn".
func (b *Backend) Name() string { return BackendName }

// String returns "onednn".
func (b *Backend) String() string { return BackendName }

// Description tells the library, instruction set and threads in use.
func (b *Backend) Description() string {
	l := Library()
	if b.portable {
		l = LibraryInfo{ISA: ownISA(), Problem: "the option portable"}
	}
	return fmt.Sprintf("%s, %d threads", l, b.threads)
}

// Threads returns the number of threads that native work runs on.
func (b *Backend) Threads() int { return b.threads }

// NumDevices returns 1.
func (b *Backend) NumDevices() int { return 1 }

// DeviceDescription describes the CPU.
func (b *Backend) DeviceDescription(compute.DeviceNum) string { return "CPU, " + Library().ISA }

// Capabilities lists the Go backend's operations, which are the fallback, batch normalization and attention.
func (b *Backend) Capabilities() compute.Capabilities {
	c := b.fallback.Capabilities().Clone()
	c.DynamicAxes = false
	for _, op := range []compute.OpType{compute.OpTypeBatchNormForTraining, compute.OpTypeBatchNormForInference,
		compute.OpTypeBatchNormGradient, compute.OpTypeFusedScaledDotProductAttention} {
		c.Operations[op] = true
	}
	return c
}

// Builder starts a computation.
func (b *Backend) Builder(name string) compute.Builder {
	return graph.New(name, b.fallback.Builder(name), graph.Target{Compile: b.compile, Attends: b.attends})
}

// Finalize waits for what is running and releases what the backend holds. Executables and buffers can't be used any
// more.
func (b *Backend) Finalize() {
	b.alive.Lock()
	defer b.alive.Unlock()
	if b.finalized.Swap(true) {
		return
	}
	close(b.work)
	<-b.ended
	b.memory.clear()
	b.fallback.Finalize()
}

// IsFinalized reports whether Finalize was called.
func (b *Backend) IsFinalized() bool { return b.finalized.Load() }

// LibraryInfo says what native code is in use.
type LibraryInfo struct {
	Path    string // empty where no oneDNN was found
	Version string
	ISA     string // the instruction set oneDNN uses, or that of this package's own kernels
	BF16    bool   // whether the CPU multiplies bfloat16
	AMX     bool   // and with units for matrices
	Problem string // why oneDNN is not in use; empty when it is
}

func (l LibraryInfo) String() string {
	if l.Path == "" {
		return "GoMLX backend without oneDNN (" + l.Problem + "), " + l.ISA
	}
	return fmt.Sprintf("oneDNN %s (%s), %s", l.Version, l.Path, l.ISA)
}

var (
	loading sync.Mutex
	loaded  LibraryInfo
	tried   bool
)

// Library tells which oneDNN is in use, loading it if that was not tried yet.
func Library() LibraryInfo {
	load()
	loading.Lock()
	defer loading.Unlock()
	return loaded
}

// places lists where oneDNN is looked for, in order: ONEDNN_LIBRARY alone when it is set, the system's library path,
// and where `make setup` puts it, in the user's cache folder.
func places() []string {
	if p, ok := os.LookupEnv("ONEDNN_LIBRARY"); ok {
		return []string{p}
	}
	list := []string{"libdnnl.so.3"}
	if p, err := cachedir.Path("onednn", "3.2", "libdnnl.so.3"); err == nil {
		list = append(list, p)
	}
	return list
}

func load() {
	loading.Lock()
	defer loading.Unlock()
	if tried {
		return
	}
	tried = true
	roundsBF16 = C.un_rounds_bf16() != 0
	if isa := os.Getenv("ONEDNN_MAX_CPU_ISA"); isa != "" {
		level, bf16 := limitOf(isa)
		limitISA(level)
		roundsBF16 = roundsBF16 && bf16
	}
	var problems []string
	for _, p := range places() {
		if p == "" {
			problems = append(problems, "no library was asked for")
			continue
		}
		c := C.CString(p)
		problem := C.un_dnnl_load(c)
		C.free(unsafe.Pointer(c))
		if problem == nil {
			var major, minor, patch C.int
			C.un_dnnl_version(&major, &minor, &patch)
			loaded.Path, loaded.Version = p, fmt.Sprintf("%d.%d.%d", major, minor, patch)
			if path := C.un_dnnl_path(); path != nil { // where the system found it
				loaded.Path = C.GoString(path)
			}
			isa := int(C.un_dnnl_isa())
			loaded.ISA = runtime.GOARCH // the codes mean other things elsewhere
			if runtime.GOARCH == "amd64" {
				loaded.ISA, loaded.BF16, loaded.AMX = isaName(isa), C.un_dnnl_bf16() != 0, C.un_dnnl_amx() != 0
			}
			return
		}
		problems = append(problems, fmt.Sprintf("%s: %s", p, C.GoString(problem)))
	}
	loaded.Problem = strings.Join(problems, "; ")
	loaded.ISA = ownISA()
}

// ownISA names the instruction set of this package's own kernels.
func ownISA() string { return [...]string{"portable C", "AVX2", "AVX-512"}[ownLevel()] }

func ownLevel() int { return int(C.un_isa()) }

// limitOf is what oneDNN's variable ONEDNN_MAX_CPU_ISA leaves to this package's own kernels: limitISA's level, and
// whether they may use the CPU's conversions to bfloat16.
func limitOf(isa string) (level int, bf16 bool) {
	switch strings.ToUpper(isa) {
	case "SSE41", "AVX":
		return 0, false
	case "AVX2", "AVX2_VNNI", "AVX2_VNNI_2":
		return 1, false
	case "AVX512_CORE", "AVX512_CORE_VNNI":
		return 2, false
	}
	return 2, true
}

// roundsBF16 reports whether the CPU converts float32 to bfloat16 itself, and may.
var roundsBF16 bool

// limitISA makes the CPU appear to have no more than portable C (0), AVX2 (1) or AVX-512 (2), for what is compiled
// later.
func limitISA(level int) { C.un_limit_isa(C.int(level)) }

// isaName names oneDNN's instruction set codes for x86-64.
func isaName(isa int) string {
	for _, known := range []struct {
		code int
		name string
	}{
		{0x1fef, "AVX-512 with AMX and FP16"}, {0xfef, "AVX-512 with AMX"}, {0x1ef, "AVX-512 with FP16"},
		{0xe7, "AVX-512 with BF16"},
		{0x67, "AVX-512 with VNNI"}, {0x27, "AVX-512"}, {0x1f, "AVX2 with VNNI 2"}, {0xf, "AVX2 with VNNI"},
		{0x7, "AVX2"}, {0x3, "AVX"}, {0x1, "SSE4.1"},
	} {
		if isa&known.code == known.code {
			return known.name
		}
	}
	return "generic"
}

// nativeType returns the native element type, if native code handles the dtype.
func nativeType(d dtypes.DType) (C.int32_t, bool) {
	switch d {
	case dtypes.Float32:
		return C.UN_F32, true
	case dtypes.BFloat16:
		return C.UN_BF16, true
	case dtypes.Float16:
		return C.UN_F16, true
	case dtypes.Bool:
		return C.UN_BOOL, true
	}
	return 0, false
}
