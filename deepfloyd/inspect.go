package deepfloyd

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/tokenizer"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/weights"
)

// PartInfo is what a part of a pipeline's folder is.
type PartInfo struct {
	Name    string
	Class   Part
	Missing bool     // the folder has no folder of that name: it was left out when the pipeline was fetched
	Files   []string // the weights, or what else the part is read from
	Bytes   int64    // of these files

	// Of parts with weights.
	Parameters int
	Values     map[weights.DType]int // in the files
	Evaluation string                // what Work is of
	Work       unet.Work             // the arithmetic of one evaluation
	config     interface {
		Bytes(dtypes.DType) int
		Check(*weights.File) error
	}
}

// Memory returns how many bytes the part's values take when it computes in dtype: none, where it is missing or has no
// weights.
func (p PartInfo) Memory(dtype dtypes.DType) int {
	if p.config == nil {
		return 0
	}
	return p.config.Bytes(dtype)
}

// Inspect tells what the parts of a pipeline's folder are that are run, in the order they are run in. Of weights it
// reads headers only; see [weights.OpenFolder] for the variant. Evaluations are of two images or texts: one with
// guidance.
func Inspect(dir, variant string) (Index, []PartInfo, error) {
	index, err := ReadIndex(dir)
	if err != nil {
		return Index{}, nil, err
	}
	all := []PartInfo{{Name: "tokenizer", Class: index.Tokenizer}, {Name: "text_encoder", Class: index.TextEncoder},
		{Name: "unet", Class: index.UNet},
		{Name: "scheduler", Class: index.Scheduler}, {Name: "image_noising_scheduler",
			Class: index.ImageNoisingScheduler}}
	var parts []PartInfo
	for _, p := range all {
		if p.Class == "" {
			continue
		}
		if err := p.read(dir, variant); err != nil {
			return Index{}, nil, err
		}
		parts = append(parts, p)
	}
	return index, parts, nil
}

func (p *PartInfo) read(dir, variant string) (err error) {
	path := filepath.Join(dir, p.Name)
	if _, err := modelfile.Stat(path); errors.Is(err, fs.ErrNotExist) {
		p.Missing = true
		return nil
	}
	const both = 2
	config := filepath.Join(path, hubfile.Network)
	switch p.Name {
	case "tokenizer":
		if _, err := tokenizer.Open(path); err != nil {
			return err
		}
		p.Files = []string{tokenizer.ModelFile(path)}
	case "text_encoder":
		c, err := t5.ReadConfig(config)
		if err != nil {
			return err
		}
		p.Parameters, p.config = c.Parameters(), c
		p.Evaluation, p.Work.Products = fmt.Sprintf("%d texts of %d tokens", both, TextTokens), c.Work(both, TextTokens)
	case "unet":
		c, err := unet.ReadConfig(config)
		if err != nil {
			return err
		}
		if err := checkSize(c); err != nil {
			return fmt.Errorf("%s: %w", config, err)
		}
		p.Parameters, p.config = c.Parameters(), c
		p.Evaluation, p.Work = fmt.Sprintf("%d images of %d×%d", both, c.SampleSize.W, c.SampleSize.H),
			c.Work(both, c.SampleSize.H, c.SampleSize.W, TextTokens)
	default:
		if _, err := openScheduler(dir, p.Name, p.Class); err != nil {
			return err
		}
		p.Files = []string{hubfile.Scheduler}
	}
	if p.config != nil {
		if err := p.readWeights(path, variant); err != nil {
			return err
		}
	}
	for _, name := range p.Files {
		info, err := modelfile.Stat(filepath.Join(path, name))
		if err != nil {
			return fmt.Errorf("inspecting the %s: %w", p.Name, err)
		}
		p.Bytes += info.Size()
	}
	return nil
}

// readWeights reads the headers.
func (p *PartInfo) readWeights(dir, variant string) error {
	f, err := weights.OpenFolder(dir, variant)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.config.Check(f); err != nil {
		return err
	}
	p.Values = map[weights.DType]int{}
	for _, name := range f.Names() {
		t, err := f.Tensor(name)
		if err != nil {
			return err
		}
		p.Values[t.DType] += t.Size()
	}
	p.Files = []string{filepath.Base(f.Path())}
	if strings.HasSuffix(f.Path(), ".json") {
		p.Files, err = weights.Shards(f.Path())
	}
	return err
}
