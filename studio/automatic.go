package studio

import (
	"bytes"
	"cmp"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/picture"
)

// toImage is the body of AUTOMATIC1111's txt2img and img2img, as far as it has a meaning here. Models have one size of
// images, so that width and height are not heeded.
type toImage struct {
	Prompt         text     `json:"prompt"`
	NegativePrompt text     `json:"negative_prompt"`
	Seed           number   `json:"seed"`
	Steps          number   `json:"steps"`
	CfgScale       number   `json:"cfg_scale"`
	SamplerName    text     `json:"sampler_name"`
	SamplerIndex   text     `json:"sampler_index"`
	BatchSize      number   `json:"batch_size"`
	NIter          number   `json:"n_iter"`
	Override       override `json:"override_settings"`

	InitImages texts  `json:"init_images"`
	Denoising  number `json:"denoising_strength"`
	Mask       texts  `json:"mask"`
	InvertMask number `json:"inpainting_mask_invert"`
	MaskBlur   number `json:"mask_blur"`
}

// override are settings for one request.
type override struct{ Checkpoint text }

// UnmarshalJSON implements [json.Unmarshaler]. Some clients write no settings as an empty list.
func (o *override) UnmarshalJSON(data []byte) error {
	var of struct {
		Checkpoint text `json:"sd_model_checkpoint"`
	}
	if json.Unmarshal(data, &of) == nil {
		o.Checkpoint = of.Checkpoint
	}
	return nil
}

// aliases are what others call the samplers.
var aliases = map[string]string{"euler a": "ddpm", "dpm++ 2m": "dpm++", "dpm++ 2m karras": "dpm++"}

// request makes a request of the body. edits: it is img2img's.
func (t toImage) request(s *Studio, edits bool) (r lab.Request, err error) {
	r = lab.Request{Model: cmp.Or(string(t.Override.Checkpoint), s.checkpoint()), Negative: string(t.NegativePrompt),
		Seed: t.Seed.seed(), Count: t.BatchSize.or(1) * t.NIter.or(1)}
	if t.Prompt != "" {
		r.Prompts = []string{string(t.Prompt)}
	}
	r.Steps = t.Steps.or(0)
	if t.CfgScale.Given && t.CfgScale.Value > 0 {
		r.Guidance = &t.CfgScale.Value
	}
	if r.Sampler = strings.ToLower(string(cmp.Or(t.SamplerName, t.SamplerIndex))); r.Sampler != "" {
		r.Sampler = cmp.Or(aliases[r.Sampler], r.Sampler)
	}
	all := s.models.all()
	if i := slices.IndexFunc(all, func(m Model) bool { return m.Name == r.Model }); i >= 0 && !all[i].Texts &&
		len(all[i].Vocabulary) == 0 {
		r.Prompts, r.Negative, r.Guidance = nil, "", nil // it draws without
	}
	if !edits {
		return r, nil
	}
	if len(t.InitImages) == 0 {
		return r, model.Errorf("init_images", "expected a picture, found none")
	}
	data, err := base64Picture("init_images", t.InitImages[0])
	if err != nil {
		return r, err
	}
	if len(t.Mask) == 0 {
		r.Edit = &lab.Edit{Picture: lab.Picture{Data: data}, Strength: 0.75}
		if t.Denoising.Given && t.Denoising.Value > 0 {
			r.Edit.Strength = t.Denoising.Value
		}
		return r, nil
	}
	mask, err := base64Picture("mask", t.Mask[0])
	if err == nil && t.InvertMask.Value != 0 {
		mask, err = inverted(mask)
	}
	r.Inpaint = &lab.Inpaint{Picture: lab.Picture{Data: data}, Mask: lab.Mask{Data: mask}}
	c, _, unread := image.DecodeConfig(bytes.NewReader(data))
	if i := slices.IndexFunc(all, func(m Model) bool { return m.Name == r.Model }); i >= 0 && unread == nil && c.Width > 0 {
		r.Inpaint.Mask.Feather = t.MaskBlur.Value * float64(all[i].Width) / float64(c.Width) // in the images' pixels
	}
	return r, err
}

// inverted exchanges a mask's dark and light.
func inverted(data []byte) ([]byte, error) {
	return regray(data, func(c color.NRGBA, _ bool) uint8 { return 255 - color.GrayModel.Convert(c).(color.Gray).Y })
}

// regray makes a mask of a picture: of each pixel, and whether all of them are opaque.
func regray(data []byte, of func(c color.NRGBA, opaque bool) uint8) ([]byte, error) {
	if err := checkPicture("mask", data); err != nil {
		return nil, err
	}
	m, err := picture.Decode(data)
	if err != nil {
		return nil, &model.FieldError{Field: "mask", Err: err}
	}
	b := m.Bounds()
	whole, ok := m.(interface{ Opaque() bool })
	opaque := ok && whole.Opaque()
	gray := image.NewGray(b)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			gray.SetGray(x, y, color.Gray{of(color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA), opaque)})
		}
	}
	var out bytes.Buffer
	err = png.Encode(&out, gray)
	return out.Bytes(), err
}

// checkpoint is the model that requests without one are drawn with.
func (s *Studio) checkpoint() string {
	if name, ok := s.chosen.Load().(string); ok {
		return name
	}
	return s.models.drawable()[0].Name
}

// automatic adds the part of AUTOMATIC1111's API that draws.
func (s *Studio) automatic(mux *http.ServeMux) {
	add := func(pattern string, do func(http.ResponseWriter, *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			value, err := do(w, r)
			if err != nil {
				status, field := statusOf(err)
				message := jobs.FaultOf(err).Message
				if field != "" {
					message = field + ": " + message
				}
				answer(w, status, map[string]any{"error": http.StatusText(status), "detail": message, "body": "",
					"errors": message})
				return
			}
			answer(w, http.StatusOK, value)
		})
	}
	plain := func(pattern string, do func() any) {
		add(pattern, func(http.ResponseWriter, *http.Request) (any, error) { return do(), nil })
	}
	add("POST /sdapi/v1/txt2img", func(w http.ResponseWriter, r *http.Request) (any, error) {
		return s.toImages(w, r, false)
	})
	add("POST /sdapi/v1/img2img", func(w http.ResponseWriter, r *http.Request) (any, error) {
		return s.toImages(w, r, true)
	})
	add("GET /sdapi/v1/progress", func(_ http.ResponseWriter, r *http.Request) (any, error) {
		return s.progress(r.URL.Query().Get("skip_current_image") != "true"), nil
	})
	for _, stop := range []string{"interrupt", "skip"} {
		plain("POST /sdapi/v1/"+stop, func() any {
			if now, _, ok := s.board.Current(); ok {
				s.queue.Cancel(now.ID)
			}
			return map[string]any{}
		})
	}
	plain("GET /sdapi/v1/options", func() any {
		return map[string]any{"sd_model_checkpoint": s.checkpoint(), "samples_format": "png"}
	})
	add("POST /sdapi/v1/options", s.setOptions)
	plain("GET /sdapi/v1/sd-models", func() any {
		list := []any{}
		for _, m := range s.models.drawable() {
			list = append(list, map[string]any{"title": m.Name, "model_name": m.Name, "hash": nil, "sha256": nil,
				"filename": m.Name, "config": nil})
		}
		return list
	})
	plain("GET /sdapi/v1/samplers", func() any {
		list := []any{}
		for _, name := range model.Samplers() {
			others := []string{}
			for alias, of := range aliases {
				if of == name {
					others = append(others, alias)
				}
			}
			slices.Sort(others)
			list = append(list, map[string]any{"name": name, "aliases": others, "options": map[string]string{}})
		}
		return list
	})
	plain("GET /sdapi/v1/schedulers", func() any { // samplers have their own spacing
		return []any{map[string]any{"name": "automatic", "label": "Automatic", "aliases": nil, "default_rho": -1,
			"need_inner_model": false}}
	})
	plain("GET /sdapi/v1/upscalers", func() any { // clients expect one that does nothing
		return []any{map[string]any{"name": "None", "model_name": nil, "model_path": nil, "model_url": nil, "scale": 1}}
	})
	for _, nothing := range []string{"latent-upscale-modes", "loras", "sd-vae", "sd-modules", "hypernetworks",
		"face-restorers", "realesrgan-models", "prompt-styles", "script-info"} {
		plain("GET /sdapi/v1/"+nothing, func() any { return []any{} })
	}
	plain("GET /sdapi/v1/embeddings", func() any { return map[string]any{"loaded": struct{}{}, "skipped": struct{}{}} })
	plain("GET /sdapi/v1/scripts", func() any { return map[string]any{"txt2img": []any{}, "img2img": []any{}} })
	for _, nothing := range []string{"refresh-checkpoints", "unload-checkpoint", "reload-checkpoint"} {
		plain("POST /sdapi/v1/"+nothing, func() any { return nil }) // models are loaded when they are needed
	}
	add("POST /sdapi/v1/png-info", pngInfo)
}

func (s *Studio) toImages(w http.ResponseWriter, r *http.Request, edits bool) (any, error) {
	var t toImage
	if err := readTolerantly(w, r, &t); err != nil {
		return nil, &model.FieldError{Field: "body", Err: err}
	}
	request, err := t.request(s, edits)
	if err != nil {
		return nil, err
	}
	status, pictures, err := s.draw(r.Context(), request)
	if err != nil {
		return nil, err
	}
	drawn := status.Request
	images := [][]byte{}
	var seeds []uint64
	var prompts, infos []string
	for i, p := range pictures {
		images, seeds = append(images, p.Data), append(seeds, *drawn.Seed)
		recipe, err := drawn.JSON()
		if err != nil {
			return nil, err
		}
		prompts, infos = append(prompts, drawn.PromptOf(i)), append(infos, string(recipe))
	}
	info, err := json.Marshal(map[string]any{
		"prompt": t.Prompt, "negative_prompt": drawn.Negative, "seed": *drawn.Seed, "all_seeds": seeds,
		"all_prompts": prompts, "infotexts": infos,
		"sampler_name": drawn.Sampler, "steps": drawn.Steps, "cfg_scale": drawn.Scale(), "sd_model_name": drawn.Model,
		"batch_size": len(pictures),
		"width":      pictures[0].Width, "height": pictures[0].Height,
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"images": images, "parameters": drawn, "info": string(info)}, nil
}

// progress tells of the job that is at work.
func (s *Studio) progress(image bool) any {
	now, frame, ok := s.board.Current()
	state := map[string]any{"skipped": false, "interrupted": false, "job": now.ID, "job_count": 0, "job_no": 0,
		"sampling_step": now.Done, "sampling_steps": now.Total}
	told := map[string]any{"progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": nil, "textinfo": nil}
	if !ok {
		return told
	}
	state["job_count"] = 1
	if now.Total > 0 && now.Loading == "" {
		told["progress"] = float64(now.Done) / float64(now.Total)
	}
	if frame != nil && image {
		if data, _, err := frame.First(); err == nil {
			told["current_image"] = data
		}
	}
	return told
}

// setOptions chooses the model of requests that name none. Options that have no meaning here are not heeded.
func (s *Studio) setOptions(w http.ResponseWriter, r *http.Request) (any, error) {
	var o struct {
		Checkpoint text `json:"sd_model_checkpoint"`
	}
	if err := readTolerantly(w, r, &o); err != nil {
		return nil, &model.FieldError{Field: "body", Err: err}
	}
	if o.Checkpoint == "" {
		return nil, nil
	}
	if !slices.ContainsFunc(s.models.drawable(), func(m Model) bool { return m.Name == string(o.Checkpoint) }) {
		return nil, model.Errorf("sd_model_checkpoint", "%q is no model of this studio", o.Checkpoint)
	}
	s.chosen.Store(string(o.Checkpoint))
	return nil, nil
}

// pngInfo reads what a picture tells of itself.
func pngInfo(w http.ResponseWriter, r *http.Request) (any, error) {
	var in struct {
		Image text `json:"image"`
	}
	if err := readTolerantly(w, r, &in); err != nil {
		return nil, &model.FieldError{Field: "body", Err: err}
	}
	data, err := base64Picture("image", string(in.Image))
	if err != nil {
		return nil, err
	}
	p, err := figure.ReadParameters(bytes.NewReader(data))
	if err != nil {
		return nil, &model.FieldError{Field: "image", Err: err}
	}
	items, lines := map[string]string{}, []string{}
	for _, q := range p {
		items[q.Key] = q.Value
		lines = append(lines, q.Key+": "+q.Value)
	}
	return map[string]any{"info": strings.Join(lines, "\n"), "items": items, "parameters": map[string]any{}}, nil
}
