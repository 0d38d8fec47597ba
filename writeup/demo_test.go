package writeup

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
)

// example is a page's data made from real digits instead of a model's.
func example(t *testing.T) DemoData {
	t.Helper()
	_, test, err := dataset.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	digits := func(perClass int) (diffusion.Images, []int) {
		images := diffusion.NewImages(10*perClass, 1, test.Rows, test.Cols)
		labels := make([]int, images.N)
		var count [10]int
		for i, label := range test.Labels {
			if n := count[label]; n < perClass {
				count[label]++
				at := n*10 + int(label)
				labels[at] = int(label)
				for j, v := range test.Images[i*images.Size() : (i+1)*images.Size()] {
					images.Data[at*images.Size()+j] = float32(v) / 255
				}
			}
		}
		return images, labels
	}
	d := DemoData{
		StepsPerEpoch: 469, Batch: 128, ImagesSeen: 60000, Guidance: 5, Steps: 300,
		TrainingTime: 191 * time.Second, SamplingTime: 14200 * time.Millisecond,
		Parameters: figure.Parameters{
			{Key: "command", Value: "unnoise demo --seed 7"}, {Key: "seed", Value: "7"},
			{Key: "commit", Value: "0123456789ab"},
			{Key: "model", Value: "MNIST UNet, class-conditional, 2,019,201 parameters"},
			{Key: "guidance", Value: "γ = 5"},
		},
	}
	for i := range d.StepsPerEpoch {
		x := float64(i)
		d.Loss = append(d.Loss, (0.045+1.05*math.Exp(-x/9)+0.12*math.Exp(-x/90))*(1+0.12*math.Sin(x*x)))
	}
	d.Samples, d.Labels = digits(8)
	final, labels := digits(1)
	d.TrajectoryLabels = labels
	generator := diffusion.NewGenerator(7)
	for i := range 101 {
		share := float32(i) / 100
		noise := final.Like()
		generator.Normal(noise.Data)
		x, x0 := final.Like(), final.Like()
		for j, v := range final.Data {
			x.Data[j] = share*v + float32(math.Sqrt(float64(1-share*share)))*noise.Data[j]
			x0.Data[j] = 0.3*(1-share) + share*v
		}
		d.Trajectory = append(d.Trajectory, Frame{Caption: fmt.Sprintf("t = %d", 300-3*i), X: x, X0: x0})
	}
	return d
}

func TestDemo(t *testing.T) {
	d := example(t)
	dir := filepath.Join(t.TempDir(), "new", "page")
	path, err := Demo(dir, d)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(page) > 3<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	for _, part := range []string{"unnoise demo --seed 7", "0123456789ab", "60,000 images", "3 minutes 11 seconds",
		"14 seconds", "<svg", "<dt>seed</dt><dd>7</dd>", "γ = 5"} {
		if !strings.Contains(string(page), part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	if outside := regexp.MustCompile(`(?:src|href)="(?:https?:)?//|url\(['"]?http|ZgotmplZ`).Find(
		page); outside != nil {
		t.Errorf("the page asks for something outside: %s", outside)
	}

	if m := regexp.MustCompile(`began at (\S+) and ended at (0.0\d+)\.`).FindSubmatch(page); m == nil ||
		string(m[1]) < "1.2" || string(m[2]) > "0.06" {
		t.Errorf("the page says that the run %s", m)
	}

	strips := regexp.MustCompile(`url\(data:image/png;base64,([^)]+)\)`).FindAllSubmatch(page, -1)
	if len(strips) != 2 {
		t.Fatalf("%d strips of frames, expected 2", len(strips))
	}
	for i, strip := range strips {
		file, err := base64.StdEncoding.DecodeString(string(strip[1]))
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		const frames, height = 51, 2*29 + 1
		if got := picture.Bounds().Dy(); got != frames*height {
			t.Fatalf("a strip is %d pixels high, expected %d", got, frames*height)
		}
		levels := func(from, to int) int {
			seen := map[color.Color]bool{}
			for y := from * height; y < to*height; y++ {
				for x := range picture.Bounds().Dx() {
					seen[picture.At(x, y)] = true
				}
			}
			return len(seen)
		}
		if before, result := levels(0, frames-1), levels(frames-1, frames); before != 32 || result < 100 {
			t.Errorf("frames have %d levels of gray, the result %d", before, result)
		}
		if first := levels(0, 1); (first > 10) != (i == 0) { // noise in the one, a gray guess in the other
			t.Errorf("screen %d begins with %d levels of gray", i+1, first)
		}
	}

	for _, name := range []string{"samples.png", "trajectory.png"} {
		got, err := figure.ReadParametersFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if seed, _ := got.Get("seed"); seed != "7" || len(got) != len(d.Parameters) {
			t.Errorf("%s carries %v", name, got)
		}
	}
	if _, err := Demo(dir, d); err != nil {
		t.Errorf("a second page in the same place: %v", err)
	}
}

// Where the samples come class by class, the grid still has a class in each column.
func TestDemoSortsSamples(t *testing.T) {
	d := DemoData{Samples: diffusion.NewImages(6, 1, 1, 1), Labels: []int{3, 3, 3, 8, 8, 8}}
	copy(d.Samples.Data, []float32{0, 1, 2, 10, 11, 12})
	sorted, columns := d.byClass()
	if len(columns) != 2 || columns[0] != "3" || columns[1] != "8" {
		t.Fatalf("columns %q", columns)
	}
	for i, want := range []float32{0, 10, 1, 11, 2, 12} {
		if sorted.Data[i] != want {
			t.Fatalf("samples in the order %v", sorted.Data)
		}
	}
	d.Labels[0] = 8
	if _, columns := d.byClass(); columns != nil {
		t.Error("unequal classes were given columns")
	}
}

func TestDemoRefuses(t *testing.T) {
	good := example(t)
	for name, spoil := range map[string]func(d *DemoData){
		"no loss":          func(d *DemoData) { d.Loss = nil },
		"labels":           func(d *DemoData) { d.Labels = d.Labels[1:] },
		"one frame":        func(d *DemoData) { d.Trajectory = d.Trajectory[:1] },
		"frames differ":    func(d *DemoData) { d.Trajectory[3].X = d.Trajectory[3].X.Slice(0, 4) },
		"estimates differ": func(d *DemoData) { d.Trajectory[3].X0 = diffusion.Images{} },
	} {
		d := good
		d.Trajectory = append([]Frame(nil), good.Trajectory...)
		spoil(&d)
		dir := filepath.Join(t.TempDir(), "page")
		if _, err := Demo(dir, d); err == nil {
			t.Errorf("%s: expected an error", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a refused page left a folder", name)
		}
	}
}

func TestSpokenTime(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", 1400 * time.Millisecond: "1.4 seconds", 61 * time.Second: "61 seconds", 180 * time.Second: "3 minutes",
		181 * time.Second: "3 minutes 1 second", 3*time.Hour + 5*time.Minute: "3 hours 5 minutes",
	} {
		if got := spokenTime(d); got != want {
			t.Errorf("%v is said %q, expected %q", d, got, want)
		}
	}
}
