package writeup

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
)

// course is a write-up's data made from the demo's real digits instead of a model's.
func course(t *testing.T) Data {
	t.Helper()
	demo := example(t)
	run := func(name string, condition mnistunet.Condition) Run {
		c := mnist.Default(condition)
		c.Data = training.Data{Name: "MNIST", Images: 60000, Checksum: "crc32c:01234567"}
		c.Program.Commit = "0123456789ab"
		c.DType, c.Threads = "f32", 2
		return Run{Name: name, Command: "unnoise train mnist --condition " + string(condition), Config: c,
			Loss: demo.Loss, StepsPerEpoch: 67, EpochLoss: []float64{0.3, 0.06, 0.05, 0.045}, LastRate: 0.0005,
			Time: time.Hour}
	}
	digits := demo.Trajectory[len(demo.Trajectory)-1].X
	classes := strings.Split("0123456789", "")
	trajectories := func(caption string, epochs ...int) (all []Trajectory) {
		for _, epoch := range epochs {
			tr := Trajectory{Epoch: epoch}
			for i, f := range demo.Trajectory {
				tr.Frames = append(tr.Frames, Frame{Caption: fmt.Sprintf(caption, i), X: f.X})
			}
			all = append(all, tr)
		}
		return all
	}
	samples := func(name string) Picture {
		return Picture{Name: name, Title: name, Note: name, Width: 10, Columns: classes, Rows: []Row{{Images: digits}},
			Parameters: figure.Parameters{{Key: "guidance", Value: "5"}}}
	}
	row := func(label string) Row { return Row{Label: label, Images: digits} }
	class := run("class-conditional", mnistunet.Class)
	flat := class
	flat.Name, flat.Decay = "constant rate", 1
	flat.EpochLoss = []float64{0.31, 0.07, 0.06, 0.09}
	mean := digits.Slice(0, 1)
	return Data{
		Command: "unnoise writeup --seed 7", Item: "digit", Parameters: figure.Parameters{{Key: "seed", Value: "7"}},
		Forward: &Picture{Name: "noise", Title: "Noise", Corner: "σ", Columns: []string{"0", "0.5", "1"},
			Rows: []Row{{Images: digits.Slice(0, 3)}, {Images: digits.Slice(3, 6)}}},
		Denoiser: &Denoiser{
			Run: run("denoiser", mnistunet.None),
			Digits: Picture{Name: "denoiser-digits", Title: "Test images",
				Rows: []Row{row("noisy"), row("after epoch 1"), row("clean")}},
			Levels: Picture{Name: "denoiser-levels", Title: "Levels", Rows: []Row{row("noisy"), row("denoised")}},
			Errors: []Level{{0, 0, 0.004}, {0.5, 0.25, 0.01}}, Tested: 64,
			Answers: Answers{Noise: Picture{Name: "denoiser-noise", Title: "Noise",
				Rows: []Row{row("pure noise"), row("after epoch 1")}},
				Set: mean, Answer: digits.Slice(1, 2), Count: 256},
		},
		Pure: &Pure{Run: run("denoiser of pure noise", mnistunet.None), Best: 0.0673,
			Answers: Answers{Noise: Picture{Name: "pure-noise-noise", Title: "Noise",
				Rows: []Row{row("pure noise"), row("after epoch 1")}}, Set: mean, Answer: mean, Count: 256}},
		Models: []Model{
			{Run: run("time-conditional", mnistunet.Time), Kind: "time", Trajectories: trajectories("t = %d", 1, 4)},
			{Run: class, Kind: "class", Columns: classes, Trajectories: trajectories("t = %d", 1, 2, 4),
				Sampling:   figure.Parameters{{Key: "sampler", Value: "ddpm"}},
				ByGuidance: []Picture{samples("class-guidance-0"), samples("class-guidance-5")},
				Flat: &Flat{Run: flat, ByGuidance: []Picture{samples("class-flat-guidance-0"),
					samples("class-flat-guidance-5")}}},
			{Run: class, Kind: "flow", Columns: classes, Trajectories: trajectories("t = 0.%02d", 4),
				BySteps: []Picture{samples("flow-steps-10")}},
		},
		Deliverables: []Deliverable{{Part: "B 1.2", What: "Noise", Done: Done, At: "noise"},
			{Part: "B 2.6", What: "Digits", Done: Partly, At: "class-samples", Note: "More:", Command: "unnoise train mnist"},
			{Part: "B 2.6", What: "Curves", Done: Done, At: "class-flat-loss"}},
		Tables: []Table{{Caption: "Quality", Header: []string{"sampler", "accuracy"},
			Rows: [][]string{{"ddpm", "99 %"}}, Note: "of 1,000 samples"}},
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "page")
	path, err := Write(dir, course(t))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(page) > mostBytes {
		t.Errorf("the page has %d bytes", len(page))
	}
	if bytes.Contains(page, []byte("&#43;")) {
		t.Error("the pictures' base64 is escaped")
	}
	for _, part := range []string{
		`id="noise"`, `id="denoiser"`, `id="pure-noise"`, `id="time"`, `id="class"`, `id="flow"`, `id="tables"`,
		`id="made"`, "That mean scores 0.0673", "as the next network is",
		"<span>unnoise writeup</span> <span>--seed 7</span>", "<span>--condition none</span>",
		"σ² = 0.25", "correlation of <strong>1.00</strong>", "It has not learned to answer with the mean digit",
		"All noise gets the same answer",
		"with an error of 0.004", "√ᾱ = 0.22", "6 hours", "All else is the same", "Falling rate, class-guidance-0",
		"Constant rate, class-flat-guidance-5",
		"from 0.001 to 0.0005", "Over the last epoch the error is 0.045 with the fall and 0.09 without.",
		"<td>99 %</td>", "4 of 20 so far", "After epoch 4", "sampler ddpm", "60,000 images, MNIST", "0123456789ab",
		"&#34;t = 0.100&#34;",
	} {
		if !strings.Contains(string(page), part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	if got := strings.Count(string(page), "classifier-free guidance"); got != 1 {
		t.Errorf("guidance is explained %d times", got)
	}
	if got := strings.Count(string(page), "√ᾱ"); got != 2 {
		t.Errorf("timesteps are explained %d times", got/2)
	}
	if outside := regexp.MustCompile(`(?:src|href)="(?:https?:)?//|url\(['"]?http|ZgotmplZ`).Find(
		page); outside != nil {
		t.Errorf("the page asks for something outside: %s", outside)
	}
	for _, alt := range []string{`alt="Noise, row 2 of 2; columns σ 0, 0.5, 1"`, `alt="Test images: noisy, row 1 of 3"`,
		`alt="Constant rate, class-flat-guidance-5, class-conditional; columns 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"`,
		`aria-label="After epoch 2; columns 0, 1, 2`,
		`aria-label="Training loss, class-conditional, falling rate and constant rate"`} {
		if !bytes.Contains(page, []byte(alt)) {
			t.Errorf("for those who can't see, the page lacks %s", alt)
		}
	}
	if n := bytes.Count(page, []byte(`class="screen"`)); n != 6 {
		t.Errorf("%d screens, expected one for each epoch: 6", n)
	}
	// Without script the results are there, and no controls that would do nothing.
	if shown, hidden := bytes.Count(page, []byte("background-position: 0 100%")),
		bytes.Count(page, []byte(`class="controls" hidden`)); shown != 6 || hidden != 3 {
		t.Errorf("without script %d screens show the result, %d controls are hidden", shown, hidden)
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(`\bid="([^"]+)"`).FindAllSubmatch(page, -1) {
		if ids[string(m[1])] {
			t.Errorf("two elements have the id %s", m[1])
		}
		ids[string(m[1])] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllSubmatch(page, -1) {
		if !ids[string(m[1])] {
			t.Errorf("a link leads to #%s, which is not there", m[1])
		}
	}
	links := regexp.MustCompile(`href="([a-z0-9-]+\.(?:png|svg))"`).FindAllSubmatch(page, -1)
	if len(links) != 27 {
		t.Errorf("the page names %d files", len(links))
	}
	for _, m := range links {
		file := filepath.Join(dir, string(m[1]))
		if strings.HasSuffix(file, ".png") {
			if p, err := figure.ReadParametersFile(file); err != nil {
				t.Error(err)
			} else if seed, _ := p.Get("seed"); seed != "7" {
				t.Errorf("%s carries %v", m[1], p)
			}
		} else if b, err := os.ReadFile(file); err != nil || xml.Unmarshal(b, new(struct{})) != nil {
			t.Errorf("%s is not XML: %v", m[1], err)
		}
	}
	if p, _ := figure.ReadParametersFile(filepath.Join(dir, "class-epoch-02.png")); len(p) != 5 ||
		p[0].Key != "command" {
		t.Errorf("an epoch's picture carries %v", p)
	}
}

// What has no run is left out, and the words with it.
func TestWriteParts(t *testing.T) {
	all := course(t)
	for name, c := range map[string]struct {
		keep          func(d *Data)
		without, with []string
	}{
		"denoiser only": {func(d *Data) { d.Pure, d.Models, d.Tables = nil, nil, nil },
			[]string{`id="pure-noise"`, "the next network", `id="time"`, `class="player"`, `id="tables"`,
				"small networks"}, nil},
		"class only": {func(d *Data) { d.Denoiser, d.Pure, d.Forward, d.Models = nil, nil, nil, d.Models[1:2] },
			[]string{`id="denoiser"`, `id="noise"`, `id="time"`, `id="flow"`},
			[]string{"√ᾱ", "ε<sub>uncond</sub> + γ"}},
		"flow only": {func(d *Data) { d.Denoiser, d.Pure, d.Forward, d.Models = nil, nil, nil, d.Models[2:] },
			[]string{`id="class"`, "√ᾱ"}, []string{"10 % of the training images", "u<sub>uncond</sub> + γ"}},
	} {
		d := all
		c.keep(&d)
		path, err := Write(t.TempDir(), d)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		page, _ := os.ReadFile(path)
		for _, part := range c.without {
			if bytes.Contains(page, []byte(part)) {
				t.Errorf("%s: the page has %q", name, part)
			}
		}
		for _, part := range c.with {
			if !bytes.Contains(page, []byte(part)) {
				t.Errorf("%s: the page lacks %q", name, part)
			}
		}
	}
}

// Where nothing is, the page shows through, and the lines of the fields beside it stay.
func TestCutOut(t *testing.T) {
	x := diffusion.NewImages(4, 3, 2, 2)
	row, err := figure.Grid{Images: x, Padding: 1, Background: ground(x)}.Draw()
	if err != nil {
		t.Fatal(err)
	}
	cut, seen := cutOut(row, 2, []int{1, 2}), ""
	for i := range cut.Bounds().Dx() {
		if _, _, _, a := cut.At(i, 1).RGBA(); a > 0 {
			seen += "x"
		} else {
			seen += "."
		}
	}
	if seen != "xxxx.....xxxx" {
		t.Errorf("of four fields, without the middle ones: %s", seen)
	}
}

// A page that would be too heavy gets fewer frames, not more megabytes.
func TestWriteStaysLight(t *testing.T) {
	d := course(t)
	d.Models = d.Models[:1]
	size := func(most int) (int, []byte) {
		t.Helper()
		path, err := d.write(t.TempDir(), most)
		if err != nil {
			t.Fatal(err)
		}
		page, _ := os.ReadFile(path)
		captions := regexp.MustCompile(`data-captions="([^"]+)"`).FindSubmatch(page)
		if captions == nil {
			t.Fatal("there is no player")
		}
		return len(page), captions[1]
	}
	full, all := size(mostBytes)
	light, fewer := size(full * 2 / 3)
	if light > full*2/3 || bytes.Count(fewer, []byte("t =")) >= bytes.Count(all, []byte("t =")) {
		t.Errorf("%d bytes became %d, captions %s", full, light, fewer)
	}
	if !bytes.HasPrefix(fewer, []byte("[&#34;t = 0&#34;")) || !bytes.HasSuffix(fewer, []byte("&#34;t = 100&#34;]")) {
		t.Errorf("the first or the last frame was lost: %s", fewer)
	}
	if _, err := d.write(t.TempDir(), 1000); err == nil || !strings.Contains(err.Error(), "leave out a model") {
		t.Errorf("a page that cannot be light enough: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, spoil := range map[string]func(d *Data){
		"nothing":        func(d *Data) { d.Denoiser, d.Pure, d.Models = nil, nil, nil },
		"no loss":        func(d *Data) { d.Models[1].EpochLoss = nil },
		"no trajectory":  func(d *Data) { d.Models[0].Trajectories = nil },
		"frames missing": func(d *Data) { d.Models[1].Trajectories[2].Frames = d.Models[1].Trajectories[2].Frames[:9] },
		"ragged table":   func(d *Data) { d.Tables[0].Rows[0] = []string{"ddpm"} },
		"other scales":   func(d *Data) { d.Models[1].Flat.ByGuidance = d.Models[1].Flat.ByGuidance[1:] },
		"two answers":    func(d *Data) { d.Pure.Answer = diffusion.NewImages(2, 1, 28, 28) },
	} {
		d := course(t)
		spoil(&d)
		dir := filepath.Join(t.TempDir(), "page")
		if _, err := Write(dir, d); err == nil {
			t.Errorf("%s: expected an error", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a refused page left a folder", name)
		}
	}
}

func TestCompare(t *testing.T) {
	a := []float32{0, 0.5, 1, 0.25}
	b := make([]float32, len(a))
	for i, v := range a {
		b[i] = 0.2 + 0.5*v // other brightness and contrast
	}
	if r, e := compare(a, a); math.Abs(r-1) > 1e-9 || e != 0 {
		t.Errorf("a picture compared with itself: %v, %v", r, e)
	}
	if r, e := compare(a, b); math.Abs(r-1) > 1e-6 || math.Abs(e-(0.04+0.0025+0.09+0.075*0.075)/4) > 1e-6 {
		t.Errorf("compared with a paler one: %v, %v", r, e)
	}
	for i := range b {
		b[i] = -a[i]
	}
	if r, _ := compare(a, b); math.Abs(r+1) > 1e-9 {
		t.Errorf("compared with its negative: %v", r)
	}
	if r, _ := compare(a, []float32{1, 1, 1, 1}); r != 0 {
		t.Errorf("compared with a plain one: %v", r)
	}
}

func TestReadRun(t *testing.T) {
	if _, err := ReadRun(t.TempDir()); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("a folder without a run: %v", err)
	}

	dir := t.TempDir()
	c := mnist.Default(mnistunet.Class)
	c.Version, c.DType, c.Threads, c.Program.Commit, c.Data = 1, "f32", 2, "first",
		training.Data{Name: "MNIST", Images: 256, Checksum: "crc32c:00000000"}
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	metrics := `{"event":"run","version":1,"steps":2,"epochs":20}
{"event":"step","epoch":1,"step":1,"loss":1,"learning_rate":0.001}
{"event":"resume","step":1,"commit":"first","threads":2}
{"event":"step","epoch":1,"step":2,"loss":0.5,"learning_rate":0.001}
{"event":"epoch","epoch":1,"step":2,"learning_rate":0.001,"mean_loss":0.75,"seconds":2}
{"event":"resume","step":2,"commit":"second","threads":4}
{"event":"step","epoch":2,"step":3,"loss":0.25,"learning_rate":0.0009}
{"event":"step","epoch":2,"step":4,"loss":0.125,"learning_rate":0.0008}
{"event":"epoch","epoch":2,"step":4,"learning_rate":0.0008,"mean_loss":0.1875,"seconds":1.5}
`
	for name, text := range map[string]string{"config.json": string(config), "metrics.jsonl": metrics} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadRun(dir)
	want := Run{Config: c, Loss: []float64{1, 0.5, 0.25, 0.125}, StepsPerEpoch: 2, EpochLoss: []float64{0.75, 0.1875},
		LastRate: 0.0008, Others: []string{"second"}, Computers: []string{"2 threads", "4 threads"},
		Time: 3500 * time.Millisecond}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	short := strings.Replace(metrics, `{"event":"step","epoch":2,"step":3,"loss":0.25,"learning_rate":0.0009}`+"\n", "",
		1)
	if err := os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(short), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRun(dir); err == nil || !strings.Contains(err.Error(), "metrics.jsonl lacks step 3") {
		t.Errorf("a step is missing: %v", err)
	}
}

// The curve's marks stand at the ends of epochs; beside another, it begins behind the first.
func TestLossCurve(t *testing.T) {
	draw := func(others ...figure.Line) (curveView, string) {
		f := &files{}
		v, err := lossCurve(f, "loss.svg", "Loss", []float64{1, 0.5, 0.25, 0.2}, 2, 64, "falling rate", others...)
		if err != nil {
			t.Fatal(err)
		}
		return v, string(v.Wide)
	}
	alone, all := draw()
	if alone.First != "1" || alone.Last != "0.2" || strings.Count(all, "epoch 1<") != 1 ||
		strings.Contains(all, "epoch 2<") || !strings.Contains(all, "(64 images each)") {
		t.Errorf("from %s to %s: %s", alone.First, alone.Last, all)
	}
	for _, tick := range []string{">1<", ">4<"} {
		if !strings.Contains(all, tick) {
			t.Errorf("the axis of all steps lacks %s", tick)
		}
	}
	if _, part := draw(lossLine("constant rate", []float64{1, 0.6, 0.3, 0.3})); strings.Contains(part, ">1<") ||
		!strings.Contains(part, ">3<") || !strings.Contains(part, ">constant rate<") {
		t.Errorf("beside another: %s", part)
	}
}

// What is no text in a folder's name costs no page.
func TestCommandOfAnyBytes(t *testing.T) {
	d := course(t)
	d.Command = "unnoise writeup --class caf\xe9"
	dir := t.TempDir()
	if _, err := Write(dir, d); err != nil {
		t.Fatal(err)
	}
	if p, err := figure.ReadParametersFile(filepath.Join(dir, "noise.png")); err != nil {
		t.Error(err)
	} else if command, _ := p.Get("command"); !strings.HasPrefix(command, "unnoise writeup --class caf") {
		t.Errorf("the command is %q", command)
	}
}

// A loss that rises is not said to fall.
func TestRisingLoss(t *testing.T) {
	d := course(t)
	for i := range d.Models {
		d.Models[i].EpochLoss = []float64{1.5, 2, 3, 4}
	}
	page, err := Write(t.TempDir(), d)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(page); err != nil ||
		bytes.Contains(text, []byte("Most of the fall is in the first epoch")) {
		t.Errorf("the page tells of a fall, %v", err)
	}
}
