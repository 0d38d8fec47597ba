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

// A folder with captions is learned from.
func TestTrainingOnCaptions(t *testing.T) {
	if testing.Short() {
		t.Skip("a step of the network takes seconds")
	}
	dir := filepath.Join(t.TempDir(), "squares")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		m := image.NewRGBA(image.Rect(0, 0, 32, 32))
		for p := range 32 * 32 {
			m.Set(p%32, p/32, color.RGBA{uint8(i * 30), 99, uint8(255 - i*30), 255})
		}
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, fmt.Sprintf("%d", i))
		if err := os.WriteFile(name+".png", b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+".txt", []byte("a square of color "+fmt.Sprint(i)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, Options{Data: []string{dir}})
	run := want[Run](s, 201, "POST", "/api/trainings", TrainRequest{Data: "squares", Steps: 1, KeepEvery: 1, Batch: 2})
	if run = s.until(run.ID, RunDone); run.Step != 1 || len(run.Samples) != 1 || run.Kind != "captions" {
		t.Errorf("the training ended as %+v", run)
	}
	r := seven(2)
	r.Model, r.Prompts = run.Model, []string{"a square"}
	if j := s.wait(want[Status](s, 202, "POST", "/api/jobs", r).ID); j.State != Done {
		t.Errorf("drawn with the run's model: %+v", j)
	}
}
