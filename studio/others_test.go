package studio

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"
	"time"

	"github.com/unnoise/unnoise/lab"
)

func TestOpenAI(t *testing.T) {
	s := serve(t, Options{})
	models := want[struct{ Data []struct{ ID, Object string } }](s, 200, "GET", "/v1/models", nil)
	if len(models.Data) != 1 || models.Data[0].ID != digits || models.Data[0].Object != "model" {
		t.Errorf("the models are %+v", models)
	}
	type images struct {
		Created int64
		Data    []struct {
			B64JSON []byte `json:"b64_json"`
			URL     string
		}
	}
	got := want[images](s, 200, "POST", "/v1/images/generations",
		`{"model":"mnist-class","prompt":"4","n":2,"size":"1024x1024","quality":null,"style":"vivid","user":"","seed":5,"steps":"3","guidance":0,"negative_prompt":null,"a field":{}}`)
	if len(got.Data) != 2 || got.Created == 0 {
		t.Fatalf("drawn were %d images", len(got.Data))
	}
	r, err := recipeOf(got.Data[1].B64JSON)
	if err != nil || *r.Seed != 5 || r.Steps != 3 || r.Prompts[0] != "4" || *r.Guidance != 5 {
		t.Errorf("the recipe is %+v, %v", r, err)
	}
	got = want[images](s, 200, "POST", "/v1/images/generations",
		`{"prompt":"4","n":0,"steps":2,"seed":-1,"response_format":"url"}`)
	if len(got.Data) != 1 || !strings.HasPrefix(got.Data[0].URL, s.url+"/api/images/") {
		t.Errorf("the address is %+v", got.Data)
	}
	for body, field := range map[string]string{
		`{"prompt":""}`:                     `"param":"prompt"`,
		`{"prompt":"a cat"}`:                `"param":"prompt"`,
		`{"prompt":"4","model":"dall-e-3"}`: `"code":"model_not_found"`,
		`{"prompt":"4","n":100}`:            `"param":"n"`,
		`[]`:                                `"type":"invalid_request_error"`,
	} {
		if status, text := s.ask("POST", "/v1/images/generations", body); status != 400 ||
			!strings.Contains(string(text), field) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

func TestOpenAIStream(t *testing.T) {
	s := serve(t, Options{})
	_, text := s.ask("POST", "/v1/images/generations", `{"prompt":"4","steps":40,"stream":true,"partial_images":2}`)
	var kinds []string
	for event := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		_, data, _ := strings.Cut(event, "\ndata: ")
		var e struct {
			Type, Size string
			B64JSON    []byte `json:"b64_json"`
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("%v in %q", err, event)
		}
		if c, err := png.DecodeConfig(bytes.NewReader(e.B64JSON)); err != nil || c.Width != 252 || e.Size != "252x252" {
			t.Errorf("%s has a picture of %d pixels, size %s: %v", e.Type, c.Width, e.Size, err)
		}
		kinds = append(kinds, e.Type)
	}
	// A partial image may be missed where the machine is slow, the picture is not.
	if n := len(kinds); n == 0 || n > 3 || kinds[n-1] != "image_generation.completed" ||
		strings.Count(strings.Join(kinds, " "), "completed") != 1 {
		t.Errorf("the events are %q", kinds)
	}
}

// drawnMask is a PNG of a size, white on its left.
func drawnMask(t *testing.T, size int) []byte {
	m := image.NewGray(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size / 2 {
			m.SetGray(x, y, color.Gray{255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAutomatic(t *testing.T) {
	s := serve(t, Options{})
	type images struct {
		Images     [][]byte
		Parameters lab.Request
		Info       string
	}
	got := want[images](s, 200, "POST", "/sdapi/v1/txt2img",
		`{"prompt":"2","negative_prompt":"","seed":-1,"steps":3,"cfg_scale":7,"width":512,"height":512,"sampler_name":"DPM++ 2M","batch_size":2,"n_iter":1,"restore_faces":false,"override_settings":{},"styles":null}`)
	var info struct {
		Seed     uint64
		AllSeeds []uint64 `json:"all_seeds"`
		Sampler  string   `json:"sampler_name"`
		CFG      float64  `json:"cfg_scale"`
	}
	if err := json.Unmarshal([]byte(got.Info), &info); err != nil || len(got.Images) != 2 || len(info.AllSeeds) != 2 ||
		info.Sampler != "dpm++" || info.CFG != 7 {
		t.Fatalf("%d images, info %s, %v", len(got.Images), got.Info, err)
	}
	first, err := recipeOf(got.Images[0])
	if err != nil || *first.Seed != info.Seed {
		t.Errorf("the recipe's seed is %d, the info's %d, %v", first.Seed, info.Seed, err)
	}

	// img2img with a mask keeps what is black in it, and what is white in it where the mask is inverted.
	picture, mask := base64.StdEncoding.EncodeToString(got.Images[0]),
		base64.StdEncoding.EncodeToString(drawnMask(t, 252))
	for invert, left := range map[string]uint8{"0": 255, "1": 0} {
		for _, given := range []string{`"data:image/png;base64,` + mask + `"`, `["` + mask + `"]`} {
			got := want[images](s, 200, "POST", "/sdapi/v1/img2img",
				`{"init_images":["`+picture+`"],"mask":`+given+`,"inpainting_mask_invert":`+invert+`,"prompt":"3","steps":3}`)
			if got.Parameters.Inpaint == nil {
				t.Fatal("the mask was ignored")
			}
			m, err := png.Decode(bytes.NewReader(got.Parameters.Inpaint.Mask.Data))
			if err != nil {
				t.Fatal(err)
			}
			if v := color.GrayModel.Convert(m.At(0, 14)).(color.Gray).Y; v != left {
				t.Errorf("inverted %s: the mask is %d on its left, expected %d", invert, v, left)
			}
		}
	}
	edited := want[images](s, 200, "POST", "/sdapi/v1/img2img",
		`{"init_images":["`+picture+`"],"mask":null,"denoising_strength":0.4,"prompt":"3","steps":5}`)
	if e := edited.Parameters.Edit; e == nil || *e.Start != 3 {
		t.Errorf("the edit is %+v", edited.Parameters)
	}

	want[any](s, 200, "POST", "/sdapi/v1/options", `{"sd_model_checkpoint":"mnist-class","CLIP_stop_at_last_layers":2}`)
	if o := want[map[string]any](s, 200, "GET", "/sdapi/v1/options", nil); o["sd_model_checkpoint"] != digits {
		t.Errorf("the options are %v", o)
	}
	if list := want[[]struct{ Title string }](s, 200, "GET", "/sdapi/v1/sd-models", nil); len(list) != 1 ||
		list[0].Title != digits {
		t.Errorf("the models are %v", list)
	}
	if list := want[[]struct{ Name string }](s, 200, "GET", "/sdapi/v1/samplers", nil); len(list) < 4 {
		t.Errorf("the samplers are %v", list)
	}
	if told := want[struct{ Items map[string]string }](s, 200, "POST", "/sdapi/v1/png-info",
		`{"image":"`+picture+`"}`); told.Items[lab.RecipeKey] == "" {
		t.Errorf("the picture tells %v", told)
	}
	for _, body := range []string{`{"prompt":"2","sampler_name":"PLMS"}`, `{"prompt":"2","steps":9000}`,
		`{"prompt":"2","override_settings":{"sd_model_checkpoint":"none"}}`} {
		if status, text := s.ask("POST", "/sdapi/v1/txt2img", body); status != 400 ||
			!strings.Contains(string(text), `"detail"`) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

func TestAutomaticProgressAndInterrupt(t *testing.T) {
	s := serve(t, Options{})
	type progress struct {
		Progress     float64
		CurrentImage []byte `json:"current_image"`
		State        struct {
			Step  int `json:"sampling_step"`
			Steps int `json:"sampling_steps"`
		}
	}
	if p := want[progress](s, 200, "GET", "/sdapi/v1/progress", nil); p.Progress != 0 || p.CurrentImage != nil {
		t.Errorf("at rest the progress is %+v", p)
	}
	ended := make(chan int)
	go func() {
		status, _ := s.ask("POST", "/sdapi/v1/txt2img",
			`{"prompt":"2","steps":300,"sampler_name":"ddpm","batch_size":32}`)
		ended <- status
	}()
	var p progress
	for start := time.Now(); p.CurrentImage == nil &&
		time.Since(start) < time.Minute; time.Sleep(10 * time.Millisecond) {
		p = want[progress](s, 200, "GET", "/sdapi/v1/progress", nil)
	}
	if p.Progress <= 0 || p.Progress >= 1 || p.State.Steps != 300 || p.Progress != float64(p.State.Step)/300 {
		t.Errorf("the progress is %v of %+v", p.Progress, p.State)
	}
	if c, err := png.DecodeConfig(bytes.NewReader(p.CurrentImage)); err != nil || c.Width != 252 {
		t.Errorf("the current image is %d pixels wide, %v", c.Width, err)
	}
	want[any](s, 200, "POST", "/sdapi/v1/interrupt", nil)
	if status := <-ended; status == 200 {
		t.Error("it drew on")
	}
}

// What clients send besides what is right: it is understood, or refused by the field's name.
func TestOddBodies(t *testing.T) {
	s := serve(t, Options{})
	picture, err := json.Marshal(drawnMask(t, 28))
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"/v1/images/edits", `{"prompt":3,"steps":2,"image":[P],"mask":[P]}`, 200, "b64_json"},
		{"/v1/images/edits", `{"prompt":"3","steps":2,"image":{"image_url":P},"mask":[{"image_url":P}]}`, 200, "b64_json"},
		{"/v1/images/edits", `{"prompt":["3"],"steps":2,"images":[P],"mask":[null],"model":null,"x":{}}`, 200, "b64_json"},
		{"/v1/images/edits", `{"prompt":"3","steps":2,"image":P,"mask":[],"negative_prompt":[],"response_format":5}`, 200,
			"b64_json"},
		{"/v1/images/edits", `{"prompt":"3","steps":2,"image":P,"mask":{"file_id":"f"}}`, 200, "b64_json"},
		{"/v1/images/edits", `{"prompt":"3","image":P,"mask":[P,P]}`, 400, `"param":"mask"`},
		{"/v1/images/edits", `{"prompt":"3","image":P,"mask":false}`, 400, "expected a text"},
		{"/v1/images/generations", `{"prompt":"3","guidance":1e300}`, 400, `"param":"guidance"`},
		{"/v1/images/generations", `[]`, 400, "found a JSON array"},
		{"/sdapi/v1/txt2img", `{"prompt":3,"steps":2,"override_settings":[],"sampler_name":null}`, 200, "images"},
		{"/sdapi/v1/txt2img", `{"prompt":["3"],"steps":2,"override_settings":{"sd_model_checkpoint":5}}`, 400, "model:"},
		{"/sdapi/v1/img2img", `{"prompt":"3","steps":4,"init_images":P,"mask":[P],"mask_blur":"2"}`, 200, "images"},
	} {
		status, text := s.ask("POST", one.path, strings.ReplaceAll(one.body, "P", string(picture)))
		if status != one.status || !strings.Contains(string(text), one.says) {
			t.Errorf("%s: status %d, %.200s", one.body, status, text)
		}
	}
}
