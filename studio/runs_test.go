package studio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// until polls a training until it has a state.
func (s served) until(id string, state RunState) Run {
	s.t.Helper()
	var run Run
	for start := time.Now(); time.Since(start) < 3*time.Minute; time.Sleep(20 * time.Millisecond) {
		if run = want[Run](s, 200, "GET", "/api/trainings/"+id, nil); run.State == state {
			return run
		}
	}
	s.t.Fatalf("the training does not come to be %s: %+v", state, run)
	return run
}

// A training is begun, gives way to a drawing, is stopped, survives its studio, goes on, and its model draws.
func TestTraining(t *testing.T) {
	s := serve(t, Options{})
	if sets := want[[]Set](s, 200, "GET", "/api/data", nil); len(sets) != 1 || sets[0].Name != "MNIST" {
		t.Errorf("the sets are %+v", sets)
	}
	small := TrainRequest{Data: "MNIST", Dim: 4, Limit: 200, Batch: 10, Epochs: 200}
	run := want[Run](s, 201, "POST", "/api/trainings", small)
	if run.State != RunTraining && run.State != RunWaiting || run.Steps != 4000 || run.Kind != "digits" {
		t.Errorf("the training begins as %+v", run)
	}
	if status, text := s.ask("POST", "/api/trainings", small); status != 409 {
		t.Errorf("a second training: %d %s", status, text)
	}
	if status, text := s.ask("POST", "/api/trainings", TrainRequest{Data: "../secret"}); status != 422 {
		t.Errorf("a set that is not there: %d %s", status, text)
	}

	slow := seven(300)
	slow.Sampler, slow.Count = "ddpm", 32
	j := want[Status](s, 202, "POST", "/api/jobs", slow)
	waits := s.until(run.ID, RunWaiting)
	time.Sleep(50 * time.Millisecond)
	if now := want[Run](s, 200, "GET", "/api/trainings/"+run.ID, nil); now.Step > waits.Step+1 ||
		now.State != RunWaiting {
		t.Errorf("it does not give way: at step %d, then %+v", waits.Step, now)
	}
	want[Status](s, 200, "DELETE", "/api/jobs/"+j.ID, nil)
	for start := time.Now(); len(run.Samples) == 0 && time.Since(start) < time.Minute; time.Sleep(20 * time.Millisecond) {
		run = want[Run](s, 200, "GET", "/api/trainings/"+run.ID, nil)
	}
	stopped := want[Run](s, 200, "POST", "/api/trainings/"+run.ID+"/stop", nil)
	if stopped.State != RunStopped || stopped.Step == 0 || stopped.Model != run.ID || len(stopped.Samples) == 0 {
		t.Fatalf("it stopped as %+v", stopped)
	}
	_, sheet := s.ask("GET", stopped.Samples[0], nil)
	if m, err := png.DecodeConfig(bytes.NewReader(sheet)); err != nil || m.Width < 280 {
		t.Errorf("the samples are %d pixels wide, %v", m.Width, err)
	}
	r := seven(2)
	r.Model = run.ID
	drawn := s.wait(want[Status](s, 202, "POST", "/api/jobs", r).ID)
	if drawn.State != Done {
		t.Errorf("drawn with the run's model: %+v", drawn)
	}
	losses := want[[]Loss](s, 200, "GET", "/api/trainings/"+run.ID+"/losses?points=10", nil)
	if len(losses) == 0 || len(losses) > 10 || losses[len(losses)-1].Step != stopped.Step ||
		!(losses[len(losses)-1].Loss < losses[0].Loss) {
		t.Errorf("the curve is %+v after %d steps", losses, stopped.Step)
	}

	s.close()
	other := serve(t, Options{Dir: s.dir})
	if all := want[[]Run](other, 200, "GET", "/api/trainings", nil); len(all) != 1 || all[0].State != RunStopped ||
		all[0].Step != stopped.Step || all[0].Model != run.ID {
		t.Errorf("after a restart the trainings are %+v", all)
	}
	if again := other.wait(want[Status](other, 202, "POST", "/api/jobs", drawn.Request).ID); again.State != Done {
		t.Errorf("drawn again after a restart: %+v", again)
	}
	on := want[Run](other, 200, "POST", "/api/trainings/"+run.ID+"/resume", nil)
	if on.State == RunStopped || on.Step <= stopped.Step {
		t.Errorf("it goes on as %+v, after step %d", on, stopped.Step)
	}
	go other.ask("POST", "/api/trainings/"+run.ID+"/stop", nil)
	_, text := other.ask("GET", "/api/trainings/"+run.ID+"/events", nil)
	events := strings.Split(strings.TrimSpace(string(text)), "\n\n")
	_, data, _ := strings.Cut(events[len(events)-1], "data: ")
	var last Run
	if err := json.Unmarshal([]byte(data), &last); err != nil || last.State != RunStopped {
		t.Errorf("the events end with %q, %v", events[len(events)-1], err)
	}
	want[any](other, 204, "DELETE", "/api/trainings/"+run.ID, nil)
	for _, path := range []string{"", "/losses", "/events", "/samples/epoch-01.png"} {
		if status, _ := other.ask("GET", "/api/trainings/"+run.ID+path, nil); status != 404 {
			t.Errorf("%s of a training that was deleted is answered with %d", path, status)
		}
	}
	for _, id := range []string{"none", "..%2f..%2fsecret", "digits-20260101-000000-00000000"} {
		if status, _ := other.ask("POST", "/api/trainings/"+id+"/resume", nil); status != 404 {
			t.Errorf("%s goes on: %d", id, status)
		}
	}
}

// squares are pictures of one color each.
func squares(t *testing.T, n, side int) (all []Captioned) {
	t.Helper()
	for i := range n {
		m := image.NewRGBA(image.Rect(0, 0, 2*side, side))
		for p := range 2 * side * side {
			m.Set(p%(2*side), p/(2*side), color.RGBA{uint8(i * 30), 99, uint8(255 - i*30), 255})
		}
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		all = append(all, Captioned{"a square of color " + fmt.Sprint(i), b.Bytes()})
	}
	return all
}

type sending struct {
	Pictures []Captioned `json:"pictures"`
}

// Pictures that are sent are kept small, learned from, and stay while a training needs them.
func TestTrainingOnCaptions(t *testing.T) {
	if testing.Short() {
		t.Skip("a step of the network takes seconds")
	}
	s := serve(t, Options{})
	if set := want[Set](s, 200, "POST", "/api/data/squares", sending{squares(t, 5, 200)}); set.Pictures != 5 || !set.Sent {
		t.Errorf("the set is %+v", set)
	}
	want[Set](s, 200, "POST", "/api/data/squares", sending{squares(t, 3, 32)})
	s.close()
	s = serve(t, Options{Dir: s.dir})
	sets := want[[]Set](s, 200, "GET", "/api/data", nil)
	if i := len(sets) - 1; sets[i].Name != "squares" || sets[i].Pictures != 8 || !sets[i].Captions {
		t.Errorf("the sets are %+v", sets)
	}
	f, err := os.Open(filepath.Join(s.dir, "data", "squares", "00001.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c, err := png.DecodeConfig(f); err != nil || c.Width != sentSide || c.Height != sentSide {
		t.Errorf("the picture that is kept has %d×%d pixels, %v", c.Width, c.Height, err)
	}
	run := want[Run](s, 201, "POST", "/api/trainings", TrainRequest{Data: "squares", Steps: 1, KeepEvery: 1, Batch: 2})
	if run = s.until(run.ID, RunDone); run.Step != 1 || len(run.Samples) != 1 || run.Kind != "captions" {
		t.Errorf("the training ended as %+v", run)
	}
	r := seven(2)
	r.Model, r.Prompts = run.Model, []string{"a square"}
	if j := s.wait(want[Status](s, 202, "POST", "/api/jobs", r).ID); j.State != Done {
		t.Errorf("drawn with the run's model: %+v", j)
	}
	want[any](s, 409, "POST", "/api/data/squares", sending{squares(t, 1, 32)})
	want[any](s, 409, "DELETE", "/api/data/squares", nil)
	want[any](s, 204, "DELETE", "/api/trainings/"+run.ID, nil)
	want[any](s, 204, "DELETE", "/api/data/squares", nil)
	if _, err := os.Stat(filepath.Join(s.dir, "data", "squares")); !os.IsNotExist(err) {
		t.Errorf("the folder of a set that was deleted: %v", err)
	}
}

// What is sent to be trained on is bounded, and goes nowhere but into its folder.
func TestSendingThreats(t *testing.T) {
	other := t.TempDir()
	for _, p := range squares(t, 1, 8) {
		if err := os.WriteFile(filepath.Join(other, "a.png"), p.Data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(other, "a.txt"), []byte("a square"), 0o666); err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{Data: []string{other}})
	one := squares(t, 1, 8)
	with := func(change func(p *Captioned)) sending {
		p := one[0]
		change(&p)
		return sending{[]Captioned{p}}
	}
	large := squares(t, 1, 1300)[0]
	for _, c := range []struct {
		what, name string
		sent       sending
	}{
		{"nothing", "a", sending{}},
		{"a folder above", "..%2fa", sending{one}},
		{"a hidden folder", ".a", sending{one}},
		{"a name that is too long", strings.Repeat("a", 41), sending{one}},
		{"the set of the command line", "MNIST", sending{one}},
		{"a folder of the command line", filepath.Base(other), sending{one}},
		{"no picture", "a", with(func(p *Captioned) { p.Data = []byte("none") })},
		{"no caption", "a", with(func(p *Captioned) { p.Caption = " " })},
		{"a caption that is too long", "a", with(func(p *Captioned) { p.Caption = strings.Repeat("a", Limits.Text+1) })},
		{"a bomb", "a", with(func(p *Captioned) { p.Data = bomb(30_000, 30_000) })},
		{"many large ones", "a", sending{[]Captioned{large, large, large, large, large}}},
	} {
		if status, text := s.ask("POST", "/api/data/"+c.name, c.sent); status != 422 {
			t.Errorf("%s: %d %s", c.what, status, text)
		}
	}
	for _, name := range []string{"MNIST", filepath.Base(other), "none", "..%2fqueue"} {
		if status, _ := s.ask("DELETE", "/api/data/"+name, nil); status != 404 {
			t.Errorf("%s can be deleted: %d", name, status)
		}
	}
	defer func(sets, pictures int) { Limits.Sets, Limits.SetPictures = sets, pictures }(Limits.Sets, Limits.SetPictures)
	Limits.Sets, Limits.SetPictures = 1, 2
	want[Set](s, 200, "POST", "/api/data/a", sending{one})
	want[any](s, 422, "POST", "/api/data/b", sending{one})
	want[any](s, 422, "POST", "/api/data/a", sending{squares(t, 2, 8)})
	want[Set](s, 200, "POST", "/api/data/a", sending{one})
}
