package weights

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/internal/otherfile"
)

// weightsFile matches the names that the hub gives a model's weights: one file, or the index of several, either of them
// of a variant such as fp16.
var weightsFile = regexp.MustCompile(
	`^(?:model|diffusion_pytorch_model)(?:(?:\.([^.]+))?\.safetensors|\.safetensors\.index(?:\.([^.]+))?\.json)$`)

// torchFile matches what the weights are called in torch.save's format.
var torchFile = regexp.MustCompile(`^(?:pytorch_model|diffusion_pytorch_model)\b.*\.bin$`)

// tied matches the names of embeddings that transformers ties to others, and so leaves out or stores twice.
var tied = regexp.MustCompile(`(?:^|\.)(?:shared|embed_tokens|lm_head)\.weight$`)

// shardFile matches what stands before .safetensors in the name of one of several files.
var shardFile = regexp.MustCompile(`-\d+-of-\d+$`)

// OpenFolder opens the weights of a model folder in the hub's layout (model.safetensors or
// diffusion_pytorch_model.safetensors, or several files and their index.json) as one set of tensors. It takes the files
// of the variant that is named (fp16: model.fp16.safetensors or model.safetensors.index.fp16.json). Where variant is
// empty it takes those without one, or the only variant there is.
func OpenFolder(dir, variant string) (*File, error) {
	files, err := modelfile.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("opening a model folder: %w", err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	name, err := Choose(dir, names, variant)
	if err != nil && variant != "" && beside(dir, variant) {
		if plain, plainErr := Choose(dir, names, ""); plainErr == nil {
			name, err = plain, nil
		}
	}
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	if strings.HasSuffix(name, ".json") {
		return openShards(path)
	}
	return Open(path)
}

// beside reports whether another part of a pipeline's folder has weights of a variant: then a part may have none of its
// own.
func beside(dir, variant string) bool {
	pipeline := filepath.Dir(filepath.Clean(dir))
	parts, err := modelfile.ReadDir(pipeline)
	if err != nil {
		return false
	}
	for _, part := range parts {
		files, _ := modelfile.ReadDir(filepath.Join(pipeline, part.Name()))
		for _, f := range files {
			if m := weightsFile.FindStringSubmatch(f.Name()); m != nil && m[1]+m[2] == variant {
				return true
			}
		}
	}
	return false
}

// Choose returns which of a model folder's files are its weights, as [OpenFolder] does: one file, or the index of
// several. Errors call the folder dir.
func Choose(dir string, files []string, variant string) (string, error) {
	found := map[string][]string{} // by variant
	var torch []string
	for _, f := range files {
		if torchFile.MatchString(f) {
			torch = append(torch, f)
		}
		if m := weightsFile.FindStringSubmatch(f); m != nil &&
			!shardFile.MatchString(strings.TrimSuffix(f, ".safetensors")) {
			found[m[1]+m[2]] = append(found[m[1]+m[2]], f)
		}
	}
	variants := slices.Sorted(maps.Keys(found))
	if variant == "" && len(found) == 1 {
		variant = variants[0]
	}
	switch names := found[variant]; {
	case len(names) == 1:
		return names[0], nil
	case len(names) == 2 && strings.Contains(names[0]+names[1], ".index."):
		// One file beside shards: as transformers takes the file, and diffusers the shards.
		index := slices.IndexFunc(names, func(name string) bool { return strings.Contains(name, ".index.") })
		if one := names[1-index]; strings.HasPrefix(one, "model.") == strings.HasPrefix(names[index], "model.") {
			if strings.HasPrefix(one, "model.") {
				return one, nil
			}
			return names[index], nil
		}
		fallthrough
	case len(names) > 1:
		return "", fmt.Errorf("%s has weights twice, %s: remove one of them", dir, strings.Join(names, " and "))
	case len(found) == 0 && len(torch) > 0:
		return "", fmt.Errorf("%s has no weights in safetensors, only in PyTorch's own format, %s, which can hold "+
			"any program and is not read: fetch a revision with safetensors, or load and save it with Python: "+
			"save_pretrained(dir, safe_serialization=True)",
			dir, torch[0])
	case len(found) == 0:
		return "", fmt.Errorf("%s has no weights: no file model.safetensors or diffusion_pytorch_model.safetensors, "+
			"nor an index such as model.safetensors.index.json", dir)
	case variant == "":
		return "", fmt.Errorf("%s has weights of the variants %s: choose one of them as the variant", dir,
			strings.Join(variants, ", "))
	}
	if variants[0] == "" {
		variants[0] = "without a variant"
	}
	return "", fmt.Errorf("%s has no weights of the variant %q, only %s", dir, variant, strings.Join(variants, ", "))
}

// openShards opens the files that an index names. Every tensor must stand where the index says, and nowhere else, but
// for tied ones.
func openShards(path string) (_ *File, err error) {
	index, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	all := &File{path: path, names: slices.Sorted(maps.Keys(index)), tensors: make(map[string]Tensor, len(index))}
	var shards []*File
	all.unmap = func() error {
		var errs []error
		for _, s := range shards {
			errs = append(errs, s.Close())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			all.Close()
		}
	}()
	for _, name := range shardsOf(index) {
		shard, err := Open(filepath.Join(filepath.Dir(path), name))
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s names the file %s, which is missing: is the download complete?", path, name)
		}
		if err != nil {
			return nil, err
		}
		shards = append(shards, shard)
		for tensor, t := range shard.tensors {
			switch index[tensor] {
			case name:
				all.tensors[tensor] = t
			case "":
				if tied.MatchString(tensor) {
					all.names, all.tensors[tensor] = append(all.names, tensor), t
					continue
				}
				return nil, fmt.Errorf("%s holds tensor %q, which %s does not name", shard.path, tensor, path)
			default:
				return nil, fmt.Errorf("%s holds tensor %q, which stands in %s by %s", shard.path, tensor,
					index[tensor], path)
			}
		}
	}
	slices.Sort(all.names)
	all.names = slices.DeleteFunc(slices.Compact(all.names), func(tensor string) bool {
		_, there := all.tensors[tensor]
		return !there && tied.MatchString(tensor)
	})
	for _, tensor := range all.names {
		if _, ok := all.tensors[tensor]; !ok {
			return nil, fmt.Errorf("%s lacks tensor %q, which stands there by %s",
				filepath.Join(filepath.Dir(path), index[tensor]), tensor, path)
		}
	}
	return all, nil
}

// Shards returns the names of the files beside an index that it names.
func Shards(path string) ([]string, error) {
	index, err := readIndex(path)
	return shardsOf(index), err
}

func shardsOf(index map[string]string) []string {
	return slices.Compact(slices.Sorted(maps.Values(index)))
}

func readIndex(path string) (map[string]string, error) {
	data, err := modelfile.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening an index of weights: %w", err)
	}
	index, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s is not a valid index of weights: %w", path, otherfile.Explain(data, err))
	}
	return index, nil
}

// parseIndex returns the file of every tensor. It reads the object token by token, so that a name that stands twice is
// noticed.
func parseIndex(data []byte) (map[string]string, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	var index map[string]string
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("it is not JSON: %v", err)
		}
		switch {
		case key != "weight_map":
			var other json.RawMessage
			err = d.Decode(&other)
		case index != nil:
			err = errors.New("it has two weight_map")
		default:
			index, err = parseWeightMap(d)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("it is not JSON: %v", err)
	}
	if len(bytes.TrimSpace(data[d.InputOffset():])) > 0 {
		return nil, errors.New("it goes on after the JSON object")
	}
	if len(index) == 0 {
		return nil, errors.New("it has no tensors under weight_map")
	}
	return index, nil
}

func parseWeightMap(d *json.Decoder) (map[string]string, error) {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("its weight_map is not an object")
	}
	index := map[string]string{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("its weight_map is not JSON: %v", err)
		}
		tensor, _ := t.(string)
		if _, twice := index[tensor]; twice {
			return nil, fmt.Errorf("its weight_map names tensor %q twice", tensor)
		}
		var file string
		if err := d.Decode(&file); err != nil {
			return nil, fmt.Errorf("tensor %q: its file's name can't be read: %v", tensor, err)
		}
		if filepath.Base(file) != file || !filepath.IsLocal(file) || !strings.HasSuffix(file, ".safetensors") {
			return nil, fmt.Errorf("tensor %q stands in %q: want the name of a .safetensors file beside the index",
				tensor, file)
		}
		index[tensor] = file
	}
	_, err := d.Token()
	return index, err
}

// Fingerprint tells sets of tensors apart without reading all of them: it is a SHA-256 of every tensor's name, dtype
// and shape, and of a kilobyte or less of its values. Which file a tensor stands in does not count.
func (f *File) Fingerprint() [sha256.Size]byte {
	const sample = 256
	sum := sha256.New()
	for _, name := range f.names {
		t := f.tensors[name]
		fmt.Fprintf(sum, "%q %s %v\n", name, t.DType, t.Shape)
		if len(t.Data) <= 4*sample {
			sum.Write(t.Data)
			continue
		}
		for part := range 4 {
			at := (len(t.Data) - sample) * part / 3
			sum.Write(t.Data[at : at+sample])
		}
	}
	return [sha256.Size]byte(sum.Sum(nil))
}
