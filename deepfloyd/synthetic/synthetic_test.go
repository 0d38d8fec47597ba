package synthetic

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/internal/filelock"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/weights"
)

// PyTorch counts the same parameters, and with FlopCounterMode the same multiply-adds of a batch of two (torch 2.13,
// diffusers 0.42.1, transformers 5.23.0).
func TestFullSizes(t *testing.T) {
	for size, want := range map[string]struct {
		parameters int
		work       unet.Work
	}{
		"M": {371605830, unet.Work{Convolutions: 191239815168, Products: 9722101760 + 13719994368 + 14763884544}},
		"L": {935365830, unet.Work{Convolutions: 531080151040, Products: 17095163904 + 22865805312 + 41010790400}},
		"XL": {4304695110, unet.Work{Convolutions: 2569867362304, Products: 60352069632 + 50303238144 +
			198492225536}},
		"sr-M": {657754886, unet.Work{Convolutions: 2644290568192, Products: 36040867840 + 64652279808 +
			94715772928}},
		"t5-xxl": {4762310656, unet.Work{Products: 713098788864 + 2331377664}},
	} {
		n, err := Find(size)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := n.writeConfigs(dir); err != nil {
			t.Fatal(err)
		}
		part, _, tensors, err := n.tensors(dir)
		if err != nil {
			t.Fatal(err)
		}
		parameters, work := 0, unet.Work{}
		for _, x := range tensors {
			parameters += x.Size()
		}
		if path := filepath.Join(dir, part, hubfile.Network); n.TextEncoder {
			c, err := t5.ReadConfig(path)
			if err != nil {
				t.Fatal(err)
			}
			work.Products = c.Work(2, 77)
		} else {
			c, err := unet.ReadConfig(path)
			if err != nil {
				t.Fatal(err)
			}
			work = c.Work(2, c.SampleSize.H, c.SampleSize.W, 77)
		}
		if parameters != want.parameters || work != want.work {
			t.Errorf("%s has %d parameters and %+v, want %+v", size, parameters, work, want)
		}
	}
	if _, err := Find("XXL"); err == nil || !strings.Contains(err.Error(), "sr-M") {
		t.Errorf("XXL: %v", err)
	}
}

// small makes a network small: few channels, one layer a block.
func small(t *testing.T, size string) Network {
	t.Helper()
	n, err := Find(size)
	if err != nil {
		t.Fatal(err)
	}
	if n.TextEncoder {
		n.files[filepath.Join("text_encoder", hubfile.Network)] = with(textEncoderConfig,
			settings{"d_model": 64, "d_ff": 128, "num_layers": 1, "num_heads": 2, "vocab_size": 300})
		return n
	}
	n.files[filepath.Join("unet", hubfile.Network)] = with(unetConfig, settings{
		"block_out_channels": []int{32, 32, 64, 64}, "cross_attention_dim": 64, "attention_head_dim": 32,
		"encoder_hid_dim": 64, "layers_per_block": 1})
	return n
}

// The short network has all of M's kinds of parameters, and about half of its arithmetic.
func TestShort(t *testing.T) {
	m, err := Find("M")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := m.UNet()
	if err != nil {
		t.Fatal(err)
	}
	short, err := Short()
	if err != nil {
		t.Fatal(err)
	}
	for name := range short.Shapes() {
		if _, ok := whole.Shapes()[name]; !ok {
			t.Errorf("M has no %s", name)
		}
	}
	sum := func(w unet.Work) float64 { return float64(w.Convolutions + w.Products) }
	if share := sum(short.Work(2, 64, 64, 77)) / sum(whole.Work(2, 64, 64, 77)); !(share > 0.4 && share < 0.7) {
		t.Errorf("its arithmetic is %.2f of M's", share)
	}
}

func TestWrite(t *testing.T) {
	for _, size := range []string{"M", "t5-xxl"} {
		n := small(t, size)
		parent := t.TempDir()
		dir := filepath.Join(parent, n.Folder)
		var calls []Progress
		if err := n.Write(context.Background(), dir, 7, func(p Progress) { calls = append(calls, p) }); err != nil {
			t.Fatal(err)
		}
		if first, last := calls[0], calls[len(calls)-1]; first.Done != 0 || last.Done != last.Total ||
			first.Total != last.Total || last.Total == 0 {
			t.Errorf("progress from %+v to %+v", first, last)
		}
		part, _, tensors, err := n.tensors(dir)
		if err != nil {
			t.Fatal(err)
		}
		f, err := weights.OpenFolder(filepath.Join(dir, part), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if len(f.Names()) != len(tensors) {
			t.Errorf("%d tensors in the file, want %d", len(f.Names()), len(tensors))
		}
		for _, name := range f.Names() {
			x, err := f.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			if x.DType != weights.BF16 || !slices.Equal(x.Shape, tensors[name].Shape) {
				t.Errorf("%s is %s %d, want BF16 %d", name, x.DType, x.Shape, tensors[name].Shape)
			}
		}
		if err := n.Write(context.Background(), dir, 7, func(Progress) {}); err == nil ||
			!strings.Contains(err.Error(), dir) {
			t.Errorf("a second time: %v", err)
		}
		if left, _ := os.ReadDir(parent); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// transformers refuses a number without a point where it expects one with.
func TestNumbers(t *testing.T) {
	dir := t.TempDir()
	if err := small(t, "t5-xxl").writeConfigs(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "text_encoder", hubfile.Network))
	if err != nil || !strings.Contains(string(data), `"initializer_factor": 1.0`) {
		t.Errorf("%s, %v", data, err)
	}
}

// TestStoppedWrite stops a process that writes, or finds what others left.
func TestStoppedWrite(t *testing.T) {
	n, parent := small(t, "M"), t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	err := n.Write(ctx, filepath.Join(parent, "x"), 0, func(p Progress) {
		if p.Done > 0 {
			stop()
		}
	})
	if left, _ := os.ReadDir(parent); !errors.Is(err, context.Canceled) || len(left) != 0 {
		t.Errorf("%v; left behind: %v", err, left)
	}

	// What a process that was killed left is not kept, unless it still lives.
	temporary, dir := filepath.Join(parent, ".x.tmp"), filepath.Join(parent, "x")
	if err := os.MkdirAll(filepath.Join(temporary, "old"), 0o755); err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(temporary)
	if err != nil {
		t.Fatal(err)
	}
	if !filelock.Take(other) {
		t.Fatal("a new folder is locked")
	}
	if err := n.Write(context.Background(), dir, 0, func(Progress) {}); err == nil ||
		!strings.Contains(err.Error(), "another process") {
		t.Errorf("written beside another process: %v", err)
	}
	other.Close()
	if err := n.Write(context.Background(), dir, 0, func(Progress) {}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{temporary, filepath.Join(dir, "old")} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Shards hold all tensors, and the same values as one file.
func TestShards(t *testing.T) {
	dir := t.TempDir()
	tensors := map[string]weights.Tensor{}
	for name, shape := range map[string][]int{"a.weight": {40, 30}, "b.weight": {7}, "c.bias": {90},
		"d.weight": {2, 300}} {
		tensors[name] = weights.Tensor{DType: weights.BF16, Shape: shape}
	}
	whole := writer{ctx: context.Background(), dir: dir, stem: "model", tensors: tensors, seed: 3,
		report: func(Progress) {}}
	if err := whole.write(1 << 20); err != nil {
		t.Fatal(err)
	}
	one, err := weights.OpenFolder(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	several := whole
	several.dir = t.TempDir()
	if err := several.write(1000); err != nil {
		t.Fatal(err)
	}
	files, err := weights.Shards(filepath.Join(several.dir, "model.safetensors.index.json"))
	if err != nil || len(files) != 3 || files[0] != "model-00001-of-00003.safetensors" {
		t.Fatalf("shards %q, %v", files, err)
	}
	all, err := weights.OpenFolder(several.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	for name := range tensors {
		a, _ := one.Tensor(name)
		b, err := all.Tensor(name)
		if err != nil || !bytes.Equal(a.Data, b.Data) {
			t.Errorf("%s differs in several files, or %v", name, err)
		}
	}
}

func TestRandom(t *testing.T) {
	values := func(name string, seed uint64, shape ...int) []float32 {
		var b bytes.Buffer
		if err := random(context.Background(), &b, name, shape, seed); err != nil {
			t.Fatal(err)
		}
		v, err := weights.Tensor{DType: weights.BF16, Shape: shape, Data: b.Bytes()}.Float32()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		name            string
		shape           []int
		mean, deviation float64
	}{{"conv.weight", []int{64, 16, 3, 3}, 0, 1. / 12}, {"to_q.weight", []int{100, 64}, 0, 1. / 8},
		{"norm.weight", []int{9000}, 1, 0.02}, {"conv.bias", []int{9000}, 0, 0.02}} {
		sum, squares := 0.0, 0.0
		v := values(c.name, 1, c.shape...)
		for _, x := range v {
			sum += float64(x)
			squares += (float64(x) - c.mean) * (float64(x) - c.mean)
		}
		mean, deviation := sum/float64(len(v)), math.Sqrt(squares/float64(len(v)))
		// bf16 keeps eight bits: cutting the rest off moves what lies around 1 by up to half of 2⁻⁷.
		if !(math.Abs(mean-c.mean) <= 0.06*c.deviation+c.mean/256 && math.Abs(deviation/c.deviation-1) <= 0.05) {
			t.Errorf("%s: mean %g, deviation %g, want %g and %g", c.name, mean, deviation, c.mean, c.deviation)
		}
	}
	a := values("a", 1, 50, 50)
	if !slices.Equal(a, values("a", 1, 50, 50)) || slices.Equal(a, values("a", 2, 50, 50)) ||
		slices.Equal(a, values("b", 1, 50, 50)) {
		t.Error("values are not those of the seed and the name")
	}
}
