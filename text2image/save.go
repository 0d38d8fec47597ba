package text2image

import (
	"io"
	"os"
	"path/filepath"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/weights"
)

const unetFile = "unet/diffusion_pytorch_model.safetensors"

// save writes a pipeline's folder: its parts by their library and class, files by their names, bytes as they are and
// others in JSON, and files of values, in bfloat16.
func save(dir, class string, parts map[string][]string, files map[string]any,
	values map[string]map[string]weights.Tensor) error {
	index := map[string]any{"_class_name": class, "requires_safety_checker": false}
	for _, name := range []string{"feature_extractor", "safety_checker", "watermarker", "text_encoder", "tokenizer"} {
		index[name] = []any{nil, nil}
	}
	for name, part := range parts {
		index[name] = part
	}
	files[hubfile.Index] = index
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		write := func() error { return atomicfile.WriteJSON(path, content) }
		if raw, ok := content.([]byte); ok {
			write = func() error {
				return atomicfile.Write(path, func(w io.Writer) error {
					_, err := w.Write(raw)
					return err
				})
			}
		}
		if err := write(); err != nil {
			return err
		}
	}
	for name, own := range values {
		half := map[string]weights.Tensor{}
		for name, t := range own {
			var err error
			if half[name], err = t.As(weights.BF16); err != nil {
				return err
			}
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := weights.Write(path, half, map[string]string{"format": "pt"}); err != nil {
			return err
		}
	}
	return nil
}
