package studio

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
)

const digits = "mnist-class"

// served is a studio behind a server.
type served struct {
	t      *testing.T
	studio *Studio
	url    string
	dir    string
	close  func()
}

func serve(t *testing.T, o Options) served {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Models == nil {
		o.Models = []string{digits}
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	stop := sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Close(ctx) // a test may leave jobs in the queue
		server.Close()
	})
	t.Cleanup(stop)
	return served{t, s, server.URL, o.Dir, stop}
}

// ask sends a request and reads the answer.
func (s served) ask(method, path string, body any, change ...func(*http.Request)) (status int, answer []byte) {
	s.t.Helper()
	var in io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case []byte:
		in, kind = bytes.NewReader(b), "image/png"
	case string:
		in = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, s.url+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	if in != nil {
		r.Header.Set("Content-Type", kind)
	}
	for _, do := range change {
		do(r)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Body.Close()
	if answer, err = io.ReadAll(a.Body); err != nil {
		s.t.Fatal(err)
	}
	return a.StatusCode, answer
}

// want asks and decodes the answer, which must have the status.
func want[T any](s served, status int, method, path string, body any) (answer T) {
	s.t.Helper()
	got, text := s.ask(method, path, body)
	if got != status {
		s.t.Fatalf("%s %s: status %d, expected %d: %s", method, path, got, status, text)
	}
	if len(text) == 0 {
		return answer
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		s.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
	return answer
}

func seven(steps int) lab.Request {
	seed := uint64(3)
	r := lab.Request{Version: 1, Model: digits, Prompts: []string{"7"}, Seed: &seed}
	r.Steps = steps
	return r
}

// wait polls a job until it has ended.
func (s served) wait(id string) Status {
	s.t.Helper()
	for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(20 * time.Millisecond) {
		if j := want[Status](s, 200, "GET", "/api/jobs/"+id, nil); j.State.Ended() {
			return j
		}
	}
	s.t.Fatalf("the job %s does not end", id)
	return Status{}
}

// What is known of a job survives the program, and an end that is told again then changes nothing.
func TestEndedJobsSurvive(t *testing.T) {
	s := serve(t, Options{})
	r := seven(3)
	r.Count = 2
	j := s.wait(want[Status](s, 202, "POST", "/api/jobs", r).ID)
	draft := s.wait(want[Status](s, 202, "POST", "/api/jobs?draft=true", r).ID)
	film := want[jobs.Film](s, 200, "GET", "/api/jobs/"+j.ID+"/film", nil)
	_, picture := s.ask("GET", draft.Images[1], nil)
	s.close()

	s = serve(t, Options{Dir: s.dir, NoWorker: true})
	for _, before := range []Status{j, draft} {
		now := want[Status](s, 200, "GET", "/api/jobs/"+before.ID, nil)
		if !reflect.DeepEqual(now, before) {
			t.Errorf("after a restart the job is %+v, before %+v", now, before)
		}
		if again := want[jobs.Film](s, 200, "GET", "/api/jobs/"+j.ID+"/film", nil); !reflect.DeepEqual(again, film) {
			t.Error("after a restart the film is another")
		}
		if _, again := s.ask("GET", "/api/jobs/"+before.ID+"/images/2", nil); !bytes.Equal(again, picture) {
			t.Error("after a restart the picture is another")
		}
	}
	if list := want[[]Status](s, 200, "GET", "/api/jobs", nil); len(list) != 2 {
		t.Errorf("listed are %d jobs", len(list))
	}
	want[Status](s, 200, "POST", "/api/jobs/"+draft.ID+"/keep", nil)
	total := func() int {
		return want[struct{ Total int }](s, 200, "GET", "/api/gallery", nil).Total
	}
	if total() != 4 {
		t.Errorf("the gallery has %d pictures", total())
	}

	// The program was killed after the pictures were written, before it knew of the end, or before it told so.
	drawn := jobs.Drawn{Request: j.Request, Pictures: []jobs.Picture{{Data: picture}, {Data: picture}}}
	for _, forgotten := range []bool{false, true} {
		if forgotten {
			s.close()
			if err := os.RemoveAll(filepath.Join(s.dir, "ended")); err != nil {
				t.Fatal(err)
			}
			s = serve(t, Options{Dir: s.dir, NoWorker: true})
		}
		if err := s.studio.board.Ended(j.ID, false, drawn, nil); err != nil {
			t.Error(err)
		}
		if err := s.studio.board.Ended(draft.ID, false, jobs.Drawn{}, jobs.ErrGone); err != nil {
			t.Error(err)
		}
		if now := want[Status](s, 200, "GET", "/api/jobs/"+draft.ID, nil); now.State != Done || len(now.Images) != 2 {
			t.Errorf("a job whose result was taken is %+v", now)
		}
		if total() != 4 {
			t.Errorf("after an end was told again the gallery has %d pictures", total())
		}
	}
}

// Of jobs that ended a bounded number is kept, the last ones.
func TestEndingsAreBounded(t *testing.T) {
	dir := t.TempDir()
	e, err := openEndings(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	name := func(n int) string { return fmt.Sprintf("20260101-000000-%08x", n) }
	for n := range e.most + 3 {
		if err := e.write(ending{Status: Status{ID: name(n), State: Done}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := e.read(name(2)); ok {
		t.Error("an old one is kept")
	}
	if e, err = openEndings(dir, e.log); err != nil || len(e.ids) != e.most || e.ids[0] != name(3) {
		t.Fatalf("%d are kept, the first is %s, %v", len(e.ids), e.ids[0], err)
	}
	e.bytes = 1 << 20
	large := ending{Status: Status{ID: name(999), State: Done, Draft: true}}
	large.Pictures = []jobs.Picture{{Data: make([]byte, 800_000)}} // in base64 too large beside others
	if err := e.write(large); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if got, ok := e.read(name(999)); !ok || got.Status.ID != name(999) || len(files) != 1 || err != nil {
		t.Errorf("of %d that are kept the large one is %v, %v", len(files), ok, err)
	}
}

func TestDrawKeepAndStartAgain(t *testing.T) {
	s := serve(t, Options{})
	r := seven(3)
	r.Count = 2
	j := want[Status](s, 202, "POST", "/api/jobs", r)
	if j.State != Queued && j.State != Running {
		t.Errorf("the job begins as %s", j.State)
	}
	j = s.wait(j.ID)
	if j.State != Done || len(j.Images) != 2 || j.Draft {
		t.Fatalf("the job ended as %+v", j)
	}
	film := want[jobs.Film](s, 200, "GET", "/api/jobs/"+j.ID+"/film", nil)
	if len(film) != 3 || film[2].Index != 2 || film[0].Images != 2 {
		t.Errorf("the film has %d moments", len(film))
	}
	for _, f := range film {
		for _, p := range [][]byte{f.X, f.X0, f.Epsilon} {
			if m, err := png.DecodeConfig(bytes.NewReader(p)); err != nil || m.Width != 56 || m.Height != 28 {
				t.Errorf("a moment's picture is %d×%d, %v", m.Width, m.Height, err)
			}
		}
	}
	_, file := s.ask("GET", j.Images[0], nil)
	recipe := want[lab.Request](s, 200, "POST", "/api/recipe", file)
	if *recipe.Seed != 3 || recipe.Steps != 3 || recipe.Prompts[0] != "7" || recipe.Count != 2 {
		t.Errorf("the picture's recipe is %+v", recipe)
	}

	// A draft of the recipe is the same picture, and not in the gallery before it is kept.
	draft := want[Status](s, 202, "POST", "/api/jobs?draft=true", recipe)
	if draft = s.wait(draft.ID); draft.State != Done || !draft.Draft {
		t.Fatalf("the draft ended as %+v", draft)
	}
	if _, again := s.ask("GET", draft.Images[0], nil); !bytes.Equal(again, file) {
		t.Error("the recipe drew another picture")
	}
	list := want[struct {
		Pictures []Entry
		Total    int
	}](s, 200, "GET", "/api/gallery", nil)
	if list.Total != 2 || list.Pictures[1].URL != j.Images[0] {
		t.Fatalf("the gallery has %+v", list)
	}
	kept := want[Status](s, 200, "POST", "/api/jobs/"+draft.ID+"/keep", nil)
	if kept.Draft || len(kept.Images) != 2 || kept.Images[0] == draft.Images[0] {
		t.Errorf("the kept draft is %+v", kept)
	}

	s.close()
	other := serve(t, Options{Dir: s.dir})
	list.Pictures = nil
	list = want[struct {
		Pictures []Entry
		Total    int
	}](other, 200, "GET", "/api/gallery?limit=3", nil)
	if list.Total != 4 || len(list.Pictures) != 3 || !slices.Equal(list.Pictures[0].Shows, []string{"7"}) ||
		list.Pictures[0].Seed != 3 || list.Pictures[0].Width != 252 {
		t.Errorf("after a restart the gallery has %+v", list)
	}
	rest := want[struct{ Pictures []Entry }](other, 200, "GET", "/api/gallery?before="+list.Pictures[2].Name, nil)
	if len(rest.Pictures) != 1 {
		t.Errorf("the last page has %+v", rest)
	}
	want[any](other, 204, "DELETE", rest.Pictures[0].URL, nil)
	if status, _ := other.ask("GET", rest.Pictures[0].URL, nil); status != 404 {
		t.Errorf("a deleted picture is answered with %d", status)
	}
}

func TestEvents(t *testing.T) {
	s := serve(t, Options{})
	j := want[Status](s, 202, "POST", "/api/jobs?draft=true", seven(5))
	_, text := s.ask("GET", "/api/jobs/"+j.ID+"/events", nil) // until the job has ended
	var last Status
	frames := 0
	for event := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		kind, data, ok := strings.Cut(event, "\ndata: ")
		if !ok {
			t.Fatalf("an event is %q", event)
		}
		switch kind {
		case "event: state":
			if err := json.Unmarshal([]byte(data), &last); err != nil {
				t.Fatal(err)
			}
		case "event: frame":
			frames++
		default:
			t.Errorf("an event begins with %q", kind)
		}
	}
	if last.State != Done || last.Done != 5 || last.Total != 5 || frames == 0 {
		t.Errorf("the last of the states is %+v, after %d frames", last, frames)
	}
}

func TestCancel(t *testing.T) {
	s := serve(t, Options{})
	r := seven(300)
	r.Sampler, r.Count = "ddpm", 64
	j := want[Status](s, 202, "POST", "/api/jobs", r)
	second := want[Status](s, 202, "POST", "/api/jobs", r)
	if now := want[Status](s, 200, "DELETE", "/api/jobs/"+second.ID, nil); now.State != Cancelled {
		t.Errorf("a waiting job that is cancelled is %s", now.State)
	}
	want[Status](s, 200, "DELETE", "/api/jobs/"+j.ID, nil)
	if j = s.wait(j.ID); j.State != Cancelled || j.Error != nil {
		t.Errorf("the job ended as %+v", j)
	}
	if _, total := s.studio.gallery.List("", 1); total != 0 {
		t.Errorf("the gallery has %d pictures of jobs that were cancelled", total)
	}
	if j = s.wait(want[Status](s, 202, "POST", "/api/jobs", seven(2)).ID); j.State != Done {
		t.Errorf("after a cancellation a job ends as %+v", j)
	}
}

// A drawing goes on from a step that the page shows, with another prompt.
func TestStepsAndBranch(t *testing.T) {
	s := serve(t, Options{})
	r := seven(6)
	r.Sampler = "ddpm"
	j := s.wait(want[Status](s, 202, "POST", "/api/jobs", r).ID)
	steps := want[jobs.Film](s, 200, "GET", "/api/jobs/"+j.ID+"/steps", nil)
	if len(steps) != 6 || steps[3].Index != 3 || steps[3].X != nil {
		t.Fatalf("the steps are %+v", steps)
	}
	picture := func(job, step string) []byte {
		t.Helper()
		status, data := s.ask("GET", "/api/jobs/"+job+"/steps/"+step, nil)
		if m, err := png.DecodeConfig(bytes.NewReader(data)); status != 200 || err != nil || m.Width != 28 {
			t.Fatalf("step %s: status %d, %d pixels wide, %v", step, status, m.Width, err)
		}
		return data
	}
	branch := j.Request
	branch.Prompts = []string{"3"}
	branch.Branch = &lab.Branch{From: j.Request, At: 3}
	b := s.wait(want[Status](s, 202, "POST", "/api/jobs", branch).ID)
	if b.State != Done {
		t.Fatalf("the branch ended as %+v", b)
	}
	for _, q := range []string{"x", "x0", "epsilon"} {
		if !bytes.Equal(picture(j.ID, "2/"+q), picture(b.ID, "2/"+q)) {
			t.Errorf("%s of the branch's step 2 is another", q)
		}
		if bytes.Equal(picture(j.ID, "5/"+q), picture(b.ID, "5/"+q)) {
			t.Errorf("%s of the branch's last step is the same", q)
		}
	}
	for _, path := range []string{"/steps/9/x", "/steps/1/y", "/steps/-1/x"} {
		if status, _ := s.ask("GET", "/api/jobs/"+j.ID+path, nil); status != 404 && status != 422 {
			t.Errorf("%s is answered with %d", path, status)
		}
	}
	branch.Branch.At = 6
	if status, text := s.ask("POST", "/api/jobs", branch); status != 422 || !strings.Contains(string(text),
		"body.branch.at") {
		t.Errorf("a branch from the last step: %d %s", status, text)
	}
}

func TestEditAndTurn(t *testing.T) {
	s := serve(t, Options{})
	m := image.NewGray(image.Rect(0, 0, 280, 280))
	for y := 60; y < 220; y++ {
		for x := 130; x < 150; x++ {
			m.SetGray(x, y, color.Gray{255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	r := seven(5)
	r.Edit = &lab.Edit{Picture: lab.Picture{Data: b.Bytes(), Fit: "stretch", Ink: "light"}, Strength: 0.4}
	if j := s.wait(want[Status](s, 202, "POST", "/api/jobs", r).ID); j.State != Done || j.Request.Edit == nil ||
		*j.Request.Edit.Start != 3 {
		t.Errorf("the edit ended as %+v", j)
	}
	rounds := 1
	r = seven(3)
	r.Prompts = nil
	r.Illusion = &lab.Illusion{Views: []lab.Part{{As: "identity", Prompts: []string{"6"}},
		{As: "rotate_180", Prompts: []string{"9"}}}, Candidates: 2, Refine: &rounds, Judge: lab.ByModel}
	j := s.wait(want[Status](s, 202, "POST", "/api/jobs", r).ID)
	if j.State != Done || len(j.Request.Illusion.Seeds) != 2 {
		t.Errorf("the anagram ended as %+v", j)
	}
	sheet := want[jobs.Sheet](s, 200, "GET", "/api/jobs/"+j.ID+"/candidates", nil)
	if len(sheet.Candidates) != 3 || len(sheet.Looks) != 2 || len(sheet.Prompts) != 1 || len(sheet.Prompts[0]) != 10 {
		t.Fatalf("the sheet is %+v", sheet)
	}
	c := sheet.Candidates[2] // refined from one of the others
	if c.Parent == nil || len(c.Matrix) != 2 || len(c.Matrix[1]) != 10 || c.Draws == 0 || !slices.Contains(j.Request.Illusion.Seeds,
		c.Seed) {
		t.Errorf("a candidate is %+v", c)
	}
	_, picture := s.ask("GET", fmt.Sprintf("/api/jobs/%s/candidates/%d", j.ID, c.Seed), nil)
	if m, err := png.DecodeConfig(bytes.NewReader(picture)); err != nil || m.Width != 28 {
		t.Errorf("a candidate's picture is %d pixels wide, %v", m.Width, err)
	}
	if _, text := s.ask("GET", "/api/jobs/"+j.ID+"/events", nil); !strings.Contains(string(text),
		"event: sheet\ndata: {\"looks\":[\"identity\"") {
		t.Errorf("the events tell of no sheet: %.300s", text)
	}

	// Only the one that was not chosen is finished.
	other := j.Request
	i := *j.Request.Illusion
	i.Seeds, i.Candidates, i.Keep = []uint64{i.Seeds[1], i.Seeds[0]}, 2, 1
	other.Illusion = &i
	if k := s.wait(want[Status](s, 202, "POST", "/api/jobs", other).ID); k.State != Done || len(k.Images) != 1 ||
		k.Request.Illusion.Seeds[0] != j.Request.Illusion.Seeds[1] {
		t.Errorf("the other candidate ended as %+v", k)
	}
}

func TestRefusals(t *testing.T) {
	s := serve(t, Options{})
	for _, c := range []struct{ name, body, field, says string }{
		{"an unknown word", `{"version":1,"model":"mnist-class","prompts":["x"]}`, "body.prompts", "mnist-class knows"},
		{"an unknown field", `{"version":1,"model":"mnist-class","promts":["7"]}`, "body.promts", "unexpected"},
		{"too many steps", `{"version":1,"model":"mnist-class","prompts":["7"],"steps":100000}`, "body.steps",
			"expected 1 to 300"},
		{"no model", `{"version":1,"model":""}`, "body.model", "no model of this studio"},
		{"another version", `{"version":9,"model":"mnist-class"}`, "body.version", "newer program"},
	} {
		status, text := s.ask("POST", "/api/jobs", c.body)
		var p struct {
			Errors []struct{ Message, Location string }
		}
		if err := json.Unmarshal(text, &p); status != 422 || err != nil || len(p.Errors) == 0 ||
			p.Errors[0].Location != c.field || !strings.Contains(p.Errors[0].Message, c.says) {
			t.Errorf("%s: %d %s", c.name, status, text)
		}
	}
	for _, path := range []string{"/api/jobs/none", "/api/jobs/none/events", "/api/jobs/none/film",
		"/api/jobs/none/images/1", "/api/images/none.png", "/none"} {
		if status, _ := s.ask("GET", path, nil); status != 404 {
			t.Errorf("%s is answered with %d", path, status)
		}
	}
	if status, text := s.ask("POST", "/api/recipe", []byte("no picture")); status != 422 {
		t.Errorf("a recipe of no picture: %d %s", status, text)
	}
}

func TestPageAndDescription(t *testing.T) {
	s := serve(t, Options{})
	total := 0
	for _, path := range []string{"/", "/style.css", "/app.js", "/api.js", "/screen.js", "/painter.js", "/turn.js",
		"/icon.svg"} {
		status, text := s.ask("GET", path, nil)
		if status != 200 || len(text) == 0 {
			t.Errorf("%s is answered with %d", path, status)
		}
		if i := bytes.Index(text, []byte("//")); path == "/" && i >= 0 {
			t.Errorf("the page names another host: %s", text[i:])
		}
		total += len(text)
	}
	if total > 150_000 {
		t.Errorf("the page has %d bytes, expected at most 150,000", total)
	}
	description := want[struct{ Paths map[string]any }](s, 200, "GET", "/openapi.json", nil)
	for _, path := range []string{"/api/jobs", "/api/jobs/{id}", "/api/jobs/{id}/events", "/api/models", "/api/gallery",
		"/api/images/{name}", "/api/recipe"} {
		if description.Paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	models := want[[]Model](s, 200, "GET", "/api/models", nil)
	if len(models) != 1 || models[0].Name != digits || len(models[0].Vocabulary) != 10 ||
		models[0].Defaults.Steps == 0 || len(models[0].Views) == 0 {
		t.Errorf("the models are %+v", models)
	}
	if status, text := s.ask("GET", "/healthz", nil); status != 200 || string(text) != "ok\n" {
		t.Errorf("/healthz: %d %s", status, text)
	}
}

// A client that goes away takes its job along.
func TestGone(t *testing.T) {
	s := serve(t, Options{})
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r, err := http.NewRequestWithContext(ctx, "POST", s.url+"/sdapi/v1/txt2img",
		strings.NewReader(`{"prompt":"2","steps":300,"sampler_name":"ddpm","batch_size":64}`))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error)
	go func() {
		_, err := http.DefaultClient.Do(r)
		gone <- err
	}()
	find := func(state State) bool {
		for _, j := range want[[]Status](s, 200, "GET", "/api/jobs", nil) {
			if j.State == state {
				return true
			}
		}
		return false
	}
	for _, state := range []State{Running, Cancelled} {
		for start := time.Now(); !find(state); time.Sleep(20 * time.Millisecond) {
			if time.Since(start) > time.Minute {
				t.Fatalf("the job does not come to be %s", state)
			}
		}
		leave()
	}
	if err := <-gone; err == nil {
		t.Error("it was answered")
	}
}

func TestMetrics(t *testing.T) {
	s := serve(t, Options{Pprof: true})
	s.wait(want[Status](s, 202, "POST", "/api/jobs?draft=true", seven(2)).ID)
	_, text := s.ask("GET", "/metrics", nil)
	for _, line := range []string{`unnoise_jobs_ended_total{state="done"} 1`, "unnoise_drawing_seconds_count 1",
		"unnoise_jobs_waiting 0", "unnoise_workers 1", "go_goroutines "} {
		if !strings.Contains(string(text), line) {
			t.Errorf("/metrics has no line %q", line)
		}
	}
	if status, _ := s.ask("GET", "/debug/pprof/goroutine?debug=1", nil); status != 200 {
		t.Errorf("with Pprof it is answered with %d", status)
	}
	if status, _ := serve(t, Options{}).ask("GET", "/debug/pprof/goroutine", nil); status != 404 {
		t.Errorf("without Pprof it is answered with %d", status)
	}
}

// bomb is the head of a PNG file that says how large it would be.
func bomb(width, height int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		panic(err)
	}
	data := b.Bytes()
	header := data[16:24]
	for i, v := range []int{width, height} {
		header[4*i], header[4*i+1], header[4*i+2], header[4*i+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
	}
	sum := crc32.ChecksumIEEE(data[12:29])
	data[29], data[30], data[31], data[32] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
	return data
}

func TestThreats(t *testing.T) {
	s := serve(t, Options{})
	get := func(change func(*http.Request)) (int, []byte) { return s.ask("GET", "/api/models", nil, change) }
	for _, c := range []struct {
		name   string
		change func(*http.Request)
	}{
		{"a rebound name", func(r *http.Request) { r.Host = "evil.example:7860" }},
		{"an address of the network", func(r *http.Request) { r.Host = "192.168.1.4:7860" }},
		{"a name that begins as a loopback one", func(r *http.Request) { r.Host = "127.0.0.1.evil.example" }},
		{"a foreign page", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }},
		{"a page of another port", func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:1") }},
		{"a sandboxed page", func(r *http.Request) { r.Header.Set("Origin", "null") }},
		{"a foreign page's picture", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }},
	} {
		if status, text := get(c.change); status != 403 {
			t.Errorf("%s: %d %s", c.name, status, text)
		}
	}
	for _, host := range []string{"localhost:7860", "127.0.0.1", "[::1]:7860"} {
		if status, text := get(func(r *http.Request) { r.Host = host }); status != 200 {
			t.Errorf("%s: %d %s", host, status, text)
		}
	}
	if status, _ := get(func(r *http.Request) { r.Header.Set("Origin", s.url) }); status != 200 {
		t.Errorf("the studio's own page is refused: %d", status)
	}

	t.Run("paths", func(t *testing.T) {
		for _, body := range []string{
			`{"version":1,"model":"/etc"}`, `{"version":1,"model":"../runs"}`,
			`{"version":1,"model":"mnist-class","prompts":["7"],"embeds":"/etc/passwd"}`,
			`{"version":1,"model":"mnist-class","prompts":["7"],"backend":"xla:/tmp/plugin.so"}`,
			`{"version":1,"model":"mnist-class","prompts":["7"],"variant":"../../x"}`,
			`{"version":1,"model":"mnist-class","prompts":["7"],"upscale":{"model":"/etc"}}`,
		} {
			if status, text := s.ask("POST", "/api/jobs", body); status != 422 {
				t.Errorf("%s: %d %s", body, status, text)
			}
		}
		for _, path := range []string{"/api/images/..%2f..%2fetc%2fpasswd", "/api/images/%2fetc%2fpasswd",
			"/..%2fgo.mod", "/page/../../go.mod"} {
			if status, _ := s.ask("GET", path, nil); status == 200 {
				t.Errorf("%s is answered", path)
			}
		}
	})
	t.Run("too much", func(t *testing.T) {
		long := strings.Repeat("a", Limits.Text+1)
		large := base64.StdEncoding.EncodeToString(bomb(30_000, 30_000))
		for _, body := range []string{
			`{"version":1,"model":"mnist-class","prompts":["7"],"count":65}`,
			`{"version":1,"model":"mnist-class","prompts":["7","8"],"count":64}`,
			`{"version":1,"model":"mnist-class","prompts":["` + long + `"]}`,
			`{"version":1,"model":"mnist-class","prompts":["7"],"negative":"` + long + `"}`,
			`{"version":1,"model":"mnist-class","prompts":[` + strings.Repeat(`"7",`, 64) + `"7"]}`,
			`{"version":1,"model":"mnist-class","prompts":["7"],"vary":[{"field":"seed","values":[` +
				strings.Repeat(`"1",`, 64) + `"1"]}]}`,
			`{"version":1,"model":"mnist-class","prompts":["7"],"batch":1000}`,
			strings.Repeat(`{"version":1,"model":"mnist-class","prompts":["7"],"branch":{"at":1,"from":`, 12) +
				`{"version":1,"model":"mnist-class","prompts":["7"]}` + strings.Repeat(`}}`, 12),
			`{"version":1,"model":"mnist-class","prompts":["7"],"strip":{"picture":{"data":"` + large + `"}}}`,
			`{"version":1,"model":"mnist-class","prompts":["7"],"edit":{"picture":{"data":"` + large + `"}}}`,
			`{"version":1,"model":"mnist-class","illusion":{"views":[{"as":"identity","prompts":["7"]},{"as":"flip","prompts":["7"]}],"candidates":1000}}`,
			`{"version":1,"model":"mnist-class","prompts":["7"],"steps":300,"inpaint":{"picture":{"data":"` + large +
				`"},"mask":{"box":"0,0,1,1"}}}`,
		} {
			if status, text := s.ask("POST", "/api/jobs", body); status != 422 {
				t.Errorf("%s: %d %s", body[:min(len(body), 120)], status, text)
			}
		}
		if status, _ := s.ask("POST", "/api/recipe", make([]byte, Limits.Body+1)); status != 413 {
			t.Errorf("a body that is too large: %d", status)
		}
	})
	t.Run("a full queue", func(t *testing.T) {
		r := seven(300)
		r.Sampler, r.Count = "ddpm", 64
		var ids []string
		full := false
		for range Limits.Queue + 2 {
			status, text := s.ask("POST", "/api/jobs", r)
			if full = status == 429; full {
				break
			}
			var j Status
			if err := json.Unmarshal(text, &j); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, j.ID)
		}
		if !full {
			t.Errorf("%d jobs were taken", len(ids))
		}
		for _, id := range slices.Backward(ids) {
			want[Status](s, 200, "DELETE", "/api/jobs/"+id, nil)
		}
	})
	t.Run("headers", func(t *testing.T) {
		a, err := http.Get(s.url)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		csp := a.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") ||
			a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("the page's headers are %v", a.Header)
		}
	})
}

func TestToken(t *testing.T) {
	const token = "a-secret-of-some-length"
	s := serve(t, Options{Token: token})
	for _, c := range []struct {
		name   string
		path   string
		change func(*http.Request)
		status int
	}{
		{"none", "/", func(*http.Request) {}, 401},
		{"a wrong one", "/api/models", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token+"x") },
			401},
		{"a wrong one in the address", "/?token=x", func(*http.Request) {}, 401},
		{"a bearer", "/api/models", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }, 200},
		{"a password", "/api/models", func(r *http.Request) { r.SetBasicAuth("anyone", token) }, 200},
		{"a cookie", "/api/models", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookie, Value: token}) },
			200},
		{"the page's address", "/?token=" + token, func(*http.Request) {}, 303},
		{"a name of the network", "/api/models", func(r *http.Request) {
			r.Host = "box.example"
			r.SetBasicAuth("",
				token)
		}, 200},
		{"a foreign page that knows it", "/api/models", func(r *http.Request) {
			r.SetBasicAuth("",
				token)
			r.Header.Set("Origin", "https://evil.example")
		}, 403},
		{"health", "/healthz", func(*http.Request) {}, 200},
		{"metrics", "/metrics", func(*http.Request) {}, 401},
	} {
		if status, text := s.ask("GET", c.path, nil, c.change); status != c.status {
			t.Errorf("%s: status %d, expected %d: %s", c.name, status, c.status, text)
		}
	}
	for addr, ok := range map[string]bool{"127.0.0.1:1": true, "localhost:1": true, "[::1]:1": true, "0.0.0.0:1": false,
		":1": false, "192.168.1.4:1": false} {
		if err := CheckAddress(addr, ""); (err == nil) != ok {
			t.Errorf("%s without a token: %v", addr, err)
		}
		if err := CheckAddress(addr, token); err != nil {
			t.Errorf("%s with a token: %v", addr, err)
		}
	}
	if CheckAddress("127.0.0.1:1", "short") == nil {
		t.Error("a short token is taken")
	}
}
