package studio

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/png"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// openMask is a PNG of a size, transparent on its left: OpenAI's way to say where to draw.
func openMask(t *testing.T, size int) []byte {
	m := image.NewNRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			if x >= size/2 {
				m.Set(x, y, color.White)
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// masked checks that a picture was drawn anew on its left, and only there.
func masked(t *testing.T, picture []byte) {
	t.Helper()
	r, err := recipeOf(picture)
	if err != nil || r.Inpaint == nil {
		t.Fatalf("the mask was ignored: %+v, %v", r, err)
	}
	m, err := png.Decode(bytes.NewReader(r.Inpaint.Mask.Data))
	if err != nil {
		t.Fatal(err)
	}
	gray := func(x int) uint8 { return color.GrayModel.Convert(m.At(x, 14)).(color.Gray).Y }
	if gray(0) != 255 || gray(27) != 0 {
		t.Errorf("the mask is %d on its left, and %d on its right", gray(0), gray(27))
	}
}

// OpenAI's own client for Go.
func TestOpenAIClient(t *testing.T) {
	s := serve(t, Options{})
	ctx := t.Context()
	client := openai.NewClient(option.WithBaseURL(s.url+"/v1"), option.WithAPIKey("unused"), option.WithMaxRetries(0))
	list, err := client.Models.List(ctx)
	if err != nil || len(list.Data) != 1 || list.Data[0].ID != digits {
		t.Errorf("the models are %+v, %v", list, err)
	}
	if m, err := client.Models.Get(ctx, digits); err != nil || m.OwnedBy != "unnoise" {
		t.Errorf("the model is %+v, %v", m, err)
	}
	few := []option.RequestOption{option.WithJSONSet("steps", 3), option.WithJSONSet("seed", 3)}
	drawn, err := client.Images.Generate(ctx, openai.ImageGenerateParams{Model: digits, Prompt: "4",
		N: openai.Int(2), Size: openai.ImageGenerateParamsSize1024x1024}, few...)
	if err != nil || len(drawn.Data) != 2 {
		t.Fatalf("drawn is %+v, %v", drawn, err)
	}
	_, data := s.ask("POST", "/v1/images/generations", `{"prompt":"4","n":2,"steps":3,"seed":3}`)
	if !strings.Contains(string(data), drawn.Data[1].B64JSON) {
		t.Error("drawn again it is another picture")
	}
	stream := client.Images.GenerateStreaming(ctx, openai.ImageGenerateParams{Model: digits, Prompt: "4",
		PartialImages: openai.Int(2)}, option.WithJSONSet("steps", 100))
	last := ""
	for stream.Next() {
		last = stream.Current().Type
	}
	if stream.Err() != nil || last != "image_generation.completed" {
		t.Errorf("the stream ends with %q, %v", last, stream.Err())
	}

	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 252, 252))); err != nil {
		t.Fatal(err)
	}
	picture := b.Bytes()
	params := openai.ImageEditParams{Model: digits, Prompt: "3",
		Image: openai.ImageEditParamsImageUnion{OfFile: openai.File(bytes.NewReader(picture), "p.png", "image/png")},
		Mask:  openai.File(bytes.NewReader(openMask(t, 252)), "m.png", "image/png")}
	edited, err := client.Images.Edit(ctx, params)
	if err != nil || len(edited.Data) != 1 {
		t.Fatalf("edited is %+v, %v", edited, err)
	}
	var text struct{ Data []byte }
	if err := json.Unmarshal([]byte(`{"data":"`+edited.Data[0].B64JSON+`"}`), &text); err != nil {
		t.Fatal(err)
	}
	masked(t, text.Data)
	params.Mask = nil
	params.Image.OfFile = openai.File(bytes.NewReader(picture), "p.png", "image/png")
	edits := client.Images.EditStreaming(ctx, params)
	for edits.Next() {
		last = edits.Current().Type
	}
	if edits.Err() != nil || last != "image_edit.completed" {
		t.Errorf("the stream of an edit ends with %q, %v", last, edits.Err())
	}
	_, err = client.Images.Generate(ctx, openai.ImageGenerateParams{Model: digits, Prompt: "a cat"})
	var refused *openai.Error
	if !errors.As(err, &refused) || refused.StatusCode != 400 || refused.Param != "prompt" {
		t.Errorf("a prompt that the model does not know: %v", err)
	}
}

// OpenAI's own client for Python, where it is installed: pip install openai.
func TestOpenAIClientOfPython(t *testing.T) {
	python := os.Getenv("UNNOISE_PYTHON")
	if python == "" {
		python = "python3"
	}
	if text, err := exec.Command(python, "-c", "import openai").CombinedOutput(); err != nil {
		t.Skipf("%s has no openai package (UNNOISE_PYTHON names another): %v, %s", python, err, text)
	}
	s := serve(t, Options{})
	dir := t.TempDir()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 252, 252))); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"p.png": b.Bytes(), "m.png": openMask(t, 252)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	text, err := exec.Command(python, "testdata/openai_client.py", s.url, filepath.Join(dir, "p.png"),
		filepath.Join(dir, "m.png")).CombinedOutput()
	if err != nil || string(text) != "ok\n" {
		t.Errorf("%v: %s", err, text)
	}
}

// form is a body of fields and PNG files, and its type.
func form(t *testing.T, fields map[string]string, files map[string][]byte) ([]byte, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"image/png"},
			"Content-Disposition": {`form-data; name="` + name + `"; filename="` + name + `.png"`}})
		if err == nil {
			_, err = part.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.FormDataContentType()
}

type generated struct {
	Data []struct {
		B64JSON []byte `json:"b64_json"`
	}
}

// Masks are never ignored, whatever way they come.
func TestEdits(t *testing.T) {
	s := serve(t, Options{})
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 56, 56))); err != nil {
		t.Fatal(err)
	}
	edit := func(fields map[string]string, files map[string][]byte) (int, []byte) {
		body, kind := form(t, fields, files)
		return s.ask("POST", "/v1/images/edits", body, func(r *http.Request) { r.Header.Set("Content-Type", kind) })
	}
	fields := map[string]string{"prompt": "3", "steps": "3", "n": "1", "size": "", "user": "x"}
	for name, files := range map[string]map[string][]byte{
		"transparent": {"image": b.Bytes(), "mask": openMask(t, 56)},
		"white":       {"image[]": b.Bytes(), "mask": drawnMask(t, 56)},
	} {
		status, text := edit(fields, files)
		var got generated
		if err := json.Unmarshal(text, &got); status != 200 || err != nil || len(got.Data) != 1 {
			t.Fatalf("%s: %d %s", name, status, text)
		}
		masked(t, got.Data[0].B64JSON)
	}
	address := func(data []byte) string {
		text, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		return `"data:image/png;base64,` + string(text[1:])
	}
	for _, mask := range []string{address(openMask(t, 56)), `{"image_url":` + address(openMask(t, 56)) + `}`} {
		got := want[generated](s, 200, "POST", "/v1/images/edits", `{"prompt":"3","steps":3,"images":[{"image_url":`+
			address(b.Bytes())+`}],"mask":`+mask+`}`)
		masked(t, got.Data[0].B64JSON)
	}
	got := want[generated](s, 200, "POST", "/v1/images/edits", `{"prompt":"3","steps":5,"image":`+address(b.Bytes())+
		`,"mask":null,"strength":0.4}`)
	if r, err := recipeOf(got.Data[0].B64JSON); err != nil || r.Edit == nil || *r.Edit.Start != 3 {
		t.Errorf("an edit without a mask is %+v, %v", r, err)
	}
	for name, c := range map[string]struct {
		fields map[string]string
		files  map[string][]byte
		param  string
	}{
		"no picture":    {fields, nil, "image"},
		"two pictures":  {map[string]string{"prompt": "3", "image": "AAAA"}, map[string][]byte{"image": b.Bytes()}, "image"},
		"no prompt":     {nil, map[string][]byte{"image": b.Bytes()}, "prompt"},
		"a broken mask": {fields, map[string][]byte{"image": b.Bytes(), "mask": []byte("none")}, "mask"},
		"a huge mask":   {fields, map[string][]byte{"image": b.Bytes(), "mask": bomb(60000, 60000)}, "mask"},
		"a huge image":  {fields, map[string][]byte{"image": bomb(60000, 60000)}, "edit.picture"},
	} {
		if status, text := edit(c.fields, c.files); status != 400 || !strings.Contains(string(text),
			`"param":"`+c.param+`"`) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, text := s.ask("POST", "/v1/images/edits", `{"prompt":"3","image":`+address(b.Bytes())+`,"mask":5}`); status !=
		400 {
		t.Errorf("a mask that is none: %d %s", status, text)
	}
	body, kind := form(t, fields, map[string][]byte{"image": make([]byte, Limits.Body)})
	if status, _ := s.ask("POST", "/v1/images/edits", body, func(r *http.Request) {
		r.Header.Set("Content-Type", kind)
	}); status != 413 {
		t.Errorf("a form that is too large: %d", status)
	}
}

// The calls that SillyTavern makes of AUTOMATIC1111, in its order.
func TestSillyTavern(t *testing.T) {
	s := serve(t, Options{})
	basic := func(r *http.Request) { r.Header.Set("Authorization", "Basic ") }
	get := func(path string, to any) {
		t.Helper()
		status, text := s.ask("GET", "/sdapi/v1/"+path, nil, basic)
		if err := json.Unmarshal(text, to); status != 200 || err != nil {
			t.Errorf("%s: %d %s, %v", path, status, text, err)
		}
	}
	var options map[string]any
	get("options", &options)
	if _, forge := options["forge_preset"]; forge || options["sd_model_checkpoint"] != digits {
		t.Errorf("the options are %v", options)
	}
	names := map[string][]string{}
	for path, key := range map[string]string{"upscalers": "name", "latent-upscale-modes": "name", "sd-vae": "model_name",
		"samplers": "name", "schedulers": "name", "sd-models": "title"} {
		var list []map[string]any
		get(path, &list)
		for _, one := range list {
			names[path] = append(names[path], one[key].(string))
		}
	}
	if names["upscalers"][0] != "None" || len(names["samplers"]) < 4 || names["sd-models"][0] != digits ||
		names["schedulers"][0] != "automatic" {
		t.Errorf("the lists are %v", names)
	}
	if status, text := s.ask("POST", "/sdapi/v1/options", `{"sd_model_checkpoint":"`+names["sd-models"][0]+`"}`,
		basic); status != 200 {
		t.Errorf("a model is chosen: %d %s", status, text)
	}
	var progress struct {
		Progress float64
		State    struct {
			JobCount int `json:"job_count"`
		}
	}
	get("progress", &progress)
	if progress.Progress != 0 || progress.State.JobCount != 0 {
		t.Errorf("at rest the progress is %+v", progress)
	}
	status, text := s.ask("POST", "/sdapi/v1/txt2img", `{"url":"http://localhost:7860","auth":"","prompt":"7",
"negative_prompt":"","sampler_name":"`+names["samplers"][0]+`","scheduler":"Automatic","steps":4,"cfg_scale":7,"width":512,
"height":512,"restore_faces":false,"enable_hr":false,"hr_upscaler":"None","hr_scale":2,"hr_additional_modules":[],
"denoising_strength":0.7,"hr_second_pass_steps":0,"seed":-1,"override_settings":{"CLIP_stop_at_last_layers":1},
"override_settings_restore_afterwards":true,"clip_skip":1,"save_images":true,"send_images":true,"do_not_save_grid":false,
"do_not_save_samples":false}`, basic)
	var drawn struct{ Images [][]byte }
	if err := json.Unmarshal(text, &drawn); status != 200 || err != nil || len(drawn.Images) != 1 {
		t.Fatalf("it draws: %d %s", status, text)
	}
	if r, err := recipeOf(drawn.Images[0]); err != nil || r.Edit != nil || r.Steps != 4 {
		t.Errorf("drawn was %+v, %v", r, err)
	}
	if status, _ := s.ask("POST", "/sdapi/v1/interrupt", nil, basic); status != 200 {
		t.Errorf("at rest an interruption is answered with %d", status)
	}
}

// The calls that Open WebUI makes of AUTOMATIC1111 and of OpenAI.
func TestOpenWebUI(t *testing.T) {
	s := serve(t, Options{})
	models := want[[]struct {
		Title string
		Name  string `json:"model_name"`
	}](s, 200, "GET", "/sdapi/v1/sd-models", nil)
	options := want[map[string]any](s, 200, "GET", "/sdapi/v1/options", nil)
	options["sd_model_checkpoint"] = models[0].Title
	want[any](s, 200, "POST", "/sdapi/v1/options", options) // it sends all of them back
	drawn := want[struct {
		Images [][]byte
		Info   string
	}](s, 200, "POST", "/sdapi/v1/txt2img", `{"prompt":"7","batch_size":1,"width":512,"height":512,"steps":3}`)
	if len(drawn.Images) != 1 || !json.Valid([]byte(drawn.Info)) {
		t.Errorf("drawn were %d images, %s", len(drawn.Images), drawn.Info)
	}
	got := want[generated](s, 200, "POST", "/v1/images/generations?api-version=1",
		`{"model":"mnist-class","prompt":"7","n":1,"size":"512x512","response_format":"b64_json"}`)
	if len(got.Data) != 1 {
		t.Errorf("drawn were %d", len(got.Data))
	}
	body, kind := form(t, map[string]string{"model": digits, "prompt": "3", "n": "1", "size": "512x512",
		"response_format": "b64_json"}, map[string][]byte{"image[]": drawn.Images[0]})
	status, text := s.ask("POST", "/v1/images/edits", body, func(r *http.Request) { r.Header.Set("Content-Type", kind) })
	if err := json.Unmarshal(text, &got); status != 200 || err != nil || len(got.Data) != 1 {
		t.Fatalf("an edit: %d %s", status, text)
	}
	if r, err := recipeOf(got.Data[0].B64JSON); err != nil || r.Edit == nil {
		t.Errorf("the edit is %+v, %v", r, err)
	}
}
