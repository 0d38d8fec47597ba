package synthetic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/disk"
	"github.com/unnoise/unnoise/internal/filelock"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/weights"
)

// shardSize is the most bytes of one file, as transformers had it when DeepFloyd IF was published.
const shardSize = 5_000_000_000

// Progress tells how much of a folder's weights is written, in bytes.
type Progress struct{ Done, Total int64 }

// Write makes the folder dir with the network: bf16 weights that the seed determines, in one file or in several of 5
// GB. The folder appears when it is whole. report is called before the first byte and after each tensor.
func (n Network) Write(ctx context.Context, dir string, seed uint64, report func(Progress)) (err error) {
	defer func() {
		switch {
		case err != nil && ctx.Err() != nil:
			err = ctx.Err()
		case err != nil:
			err = fmt.Errorf("writing %s: %w", dir, err)
		}
	}()
	if _, err := os.Lstat(dir); err == nil {
		return errors.New("it is there already")
	}
	temporary := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".tmp")
	if err := os.MkdirAll(temporary, 0o755); err != nil {
		return err
	}
	lock, err := os.Open(temporary)
	if err != nil {
		return err
	}
	defer lock.Close()
	if !filelock.Take(lock) {
		return fmt.Errorf("another process is writing %s: wait for it, or stop it first", temporary)
	}
	if _, err := os.Lstat(dir); err == nil {
		return errors.New("another process has just written it")
	}
	defer func() {
		if err != nil {
			os.RemoveAll(temporary)
		}
	}()
	left, err := os.ReadDir(temporary) // by a process that was killed
	if err != nil {
		return err
	}
	for _, e := range left {
		if err := os.RemoveAll(filepath.Join(temporary, e.Name())); err != nil {
			return err
		}
	}
	if err := n.writeConfigs(temporary); err != nil {
		return err
	}
	part, stem, tensors, err := n.tensors(temporary)
	if err != nil {
		return err
	}
	w := writer{ctx: ctx, dir: filepath.Join(temporary, part), stem: stem, tensors: tensors, seed: seed, report: report}
	for _, t := range tensors {
		w.progress.Total += int64(t.ByteSize())
	}
	if free, ok := disk.Free(temporary); ok && w.progress.Total > free {
		return fmt.Errorf("it needs %.1f GB, and the disk has %.1f GB left", float64(w.progress.Total)/1e9,
			float64(free)/1e9)
	}
	report(w.progress)
	if err := w.write(shardSize); err != nil {
		return err
	}
	return os.Rename(temporary, dir)
}

func (n Network) writeConfigs(dir string) error {
	for name, s := range n.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := atomicfile.WriteJSON(path, s); err != nil {
			return err
		}
	}
	return nil
}

// tensors returns what the network's file has by the config.json in dir, the name of the part, and that of its file
// without the ending.
func (n Network) tensors(dir string) (part, stem string, tensors map[string]weights.Tensor, err error) {
	var shapes map[string][]int
	if n.TextEncoder {
		part, stem = "text_encoder", "model"
		c, err := t5.ReadConfig(filepath.Join(dir, part, hubfile.Network))
		if err != nil {
			return "", "", nil, err
		}
		shapes = c.Shapes()
	} else {
		part, stem = "unet", "diffusion_pytorch_model"
		c, err := unet.ReadConfig(filepath.Join(dir, part, hubfile.Network))
		if err != nil {
			return "", "", nil, err
		}
		shapes = c.Shapes()
	}
	tensors = map[string]weights.Tensor{}
	for name, shape := range shapes {
		tensors[name] = weights.Tensor{DType: weights.BF16, Shape: shape}
	}
	return part, stem, tensors, nil
}

// writer writes the files of one part's tensors.
type writer struct {
	ctx       context.Context
	dir, stem string
	tensors   map[string]weights.Tensor
	seed      uint64
	progress  Progress
	report    func(Progress)
}

func (w *writer) write(limit int64) error {
	shards := []map[string]weights.Tensor{{}}
	size := int64(0)
	for _, name := range slices.Sorted(maps.Keys(w.tensors)) {
		t := w.tensors[name]
		if size > 0 && size+int64(t.ByteSize()) > limit {
			shards, size = append(shards, map[string]weights.Tensor{}), 0
		}
		shards[len(shards)-1][name] = t
		size += int64(t.ByteSize())
	}
	if len(shards) == 1 {
		return w.file(w.stem+".safetensors", w.tensors)
	}
	files := map[string]string{}
	for i, shard := range shards {
		name := fmt.Sprintf("%s-%05d-of-%05d.safetensors", w.stem, i+1, len(shards))
		for tensor := range shard {
			files[tensor] = name
		}
		if err := w.file(name, shard); err != nil {
			return err
		}
	}
	return atomicfile.WriteJSON(filepath.Join(w.dir, w.stem+".safetensors.index.json"),
		map[string]any{"metadata": map[string]int64{"total_size": w.progress.Total}, "weight_map": files})
}

func (w *writer) file(name string, tensors map[string]weights.Tensor) error {
	return weights.WriteEach(filepath.Join(w.dir, name), tensors, map[string]string{"format": "pt"},
		func(to io.Writer, name string) error {
			if err := random(w.ctx, to, name, tensors[name].Shape, w.seed); err != nil {
				return err
			}
			w.progress.Done += int64(tensors[name].ByteSize())
			w.report(w.progress)
			return nil
		})
}

// random writes a tensor's values, which the seed and the name determine: normally distributed, so wide that sums over
// a matrix's or kernel's inputs keep the inputs' size; around 1 for the scales of norms.
func random(ctx context.Context, to io.Writer, name string, shape []int, seed uint64) error {
	inputs, size := 1, 1
	for i, d := range shape {
		size *= d
		if i > 0 {
			inputs *= d
		}
	}
	mean, deviation := 0.0, 1/math.Sqrt(float64(inputs))
	if len(shape) == 1 {
		deviation = 0.02
		if filepath.Ext(name) == ".weight" {
			mean = 1
		}
	}
	var quantiles [1 << 12]uint16
	for i := range quantiles {
		x := math.Sqrt2 * math.Erfinv((2*float64(i)+1)/float64(len(quantiles))-1)
		quantiles[i] = uint16(math.Float32bits(float32(mean+deviation*x)) >> 16)
	}
	h := fnv.New64a()
	io.WriteString(h, name)
	source := rand.NewPCG(seed, h.Sum64())
	block := make([]byte, 1<<20)
	for left := 2 * size; left > 0; left -= len(block) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := 0; i < len(block); i += 8 {
			r := source.Uint64()
			at := func(shift int) uint64 { return uint64(quantiles[r>>shift&0xfff]) }
			binary.LittleEndian.PutUint64(block[i:], at(0)|at(16)<<16|at(32)<<32|at(48)<<48)
		}
		if _, err := to.Write(block[:min(left, len(block))]); err != nil {
			return err
		}
	}
	return nil
}
