package deepfloyd

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/tokenizer"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/cachedir"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

// TextTokens is how many tokens of a prompt DeepFloyd IF was trained to read, the closing one included.
const TextTokens = 77

// TextEncoder encodes prompts with a folder's tokenizer and text encoder.
type TextEncoder struct {
	Dir     string
	Variant string       // of the weights; see [weights.OpenFolder]
	DType   dtypes.DType // Float32 or BFloat16
	Cache   string       // folder where embeddings are kept, a file each; empty: nowhere. See [CacheDir]
	Backend string       // what encodes, if not onednn: embeddings made by it are kept apart
	Warn    func(string) // told what does not stop the work; may be nil

	Progress nn.Progress // told how many bytes of the text encoder's weights were read, of how many; may be nil
}

// CacheDir is where embeddings are kept by default, in the user's cache folder.
func CacheDir() (string, error) { return cachedir.Path("embeddings") }

// Encode encodes texts, each once. The text encoder is loaded only for texts whose embeddings are not kept, and closed
// before Encode returns: beside a UNet it may be too large.
func (e TextEncoder) Encode(ctx context.Context, b compute.Backend, texts ...string) (Prompts, error) {
	index, err := ReadIndex(e.Dir)
	if err != nil {
		return Prompts{}, err
	}
	if index.TextEncoder == "" || index.Tokenizer == "" {
		return Prompts{}, fmt.Errorf("%s has no text_encoder or no tokenizer by its %s: encode prompts with a folder "+
			"that has both, or use embeddings made before", e.Dir, hubfile.Index)
	}
	tok, err := tokenizer.Open(filepath.Join(e.Dir, "tokenizer"))
	if err != nil {
		return Prompts{}, err
	}
	kept, err := e.openCache()
	if err != nil {
		return Prompts{}, err
	}
	var encoder *t5.Encoder
	defer func() {
		if encoder != nil {
			encoder.Close()
			debug.FreeOSMemory() // gigabytes, which the collector would leave until as many more are asked for
		}
	}()
	var all Prompts
	for _, text := range texts {
		if slices.Contains(all.Texts, text) {
			continue
		}
		clean := tokenizer.Preprocess(text)
		if n := len(tok.IDs(clean)); n >= TextTokens {
			e.warn("the prompt %q has %d tokens; only the first %d are read", text, n, TextTokens-1)
		}
		for _, token := range tok.Added() {
			if strings.Contains(text, token) && !strings.Contains(clean, token) {
				e.warn("the prompt %q is lower-cased before it is read, as diffusers does: the added token %q is not "+
					"found in it", text, token)
			}
		}
		ids, mask := tok.Encode(clean, TextTokens)
		if id := slices.Max(ids); int(id) >= kept.vocabulary {
			return Prompts{}, fmt.Errorf("the prompt %q has the token %q, whose id is %d, and the text encoder of %s "+
				"knows 0 to %d: it was not resized when the token was added (resize_token_embeddings)",
				text, tok.Piece(id), id, e.Dir, kept.vocabulary-1)
		}
		values, ok := kept.read(clean)
		if !ok {
			if encoder == nil {
				if encoder, err = t5.Load(b, e.folder(), e.Variant, e.DType, e.Progress); err != nil {
					return Prompts{}, err
				}
			}
			one, err := encoder.Encode(ctx, [][]int32{ids}, [][]int32{mask})
			if err == nil && !diffusion.Finite(one.Data) {
				err = fmt.Errorf("the text encoder of %s gives numbers that are NaN or infinite: its weights are "+
					"damaged, or its dtype is too small for them (try f32)", e.Dir)
			}
			if err == nil { // also if ctx ended meanwhile
				if err := kept.write(clean, one.Data, mask); err != nil {
					e.warn("the embeddings can't be kept: %v", err)
					kept.dir = "" // nor can the others
				}
			}
			if ctx.Err() != nil {
				return Prompts{}, ctx.Err()
			}
			if err != nil {
				return Prompts{}, fmt.Errorf("encoding the prompt %q: %w", text, err)
			}
			values = one.Data
		}
		all.Texts = append(all.Texts, text)
		all.Mask = append(all.Mask, mask...)
		all.Embeds = model.Embeddings{N: all.Embeds.N + 1, Tokens: TextTokens, Dim: kept.dim,
			Data: append(all.Embeds.Data, values...)}
	}
	return all, nil
}

func (e TextEncoder) folder() string { return filepath.Join(e.Dir, "text_encoder") }

func (e TextEncoder) warn(format string, args ...any) {
	if e.Warn != nil {
		e.Warn(fmt.Sprintf(format, args...))
	}
}

// embeddingsRecipe grows when the same model and prompt come to other embeddings.
const embeddingsRecipe = 3

// cache is where embeddings of one text encoder in one dtype are kept.
type cache struct {
	dir   string // empty: none
	model string // what identifies the tokenizer and the text encoder
	dim   int

	vocabulary int // of the text encoder
}

// openCache finds the files of the text encoder, and the folder for its embeddings.
func (e TextEncoder) openCache() (cache, error) {
	c, err := t5.ReadConfig(filepath.Join(e.folder(), hubfile.Network))
	if err != nil {
		return cache{}, err
	}
	kept := cache{dim: c.DModel, vocabulary: c.VocabSize}
	if e.Cache == "" {
		return kept, nil
	}
	f, err := weights.OpenFolder(e.folder(), e.Variant)
	if err != nil {
		return cache{}, err
	}
	defer f.Close()
	sum := sha256.New()
	fmt.Fprintf(sum, "recipe %d, %s\n", embeddingsRecipe, e.DType)
	if e.Backend != "" {
		fmt.Fprintf(sum, "backend %q\n", e.Backend)
	}
	tokens := filepath.Join(e.Dir, "tokenizer")
	for _, path := range append(tokenizer.Files(tokens), filepath.Join(e.folder(), hubfile.Network)) {
		data, err := modelfile.ReadFile(path)
		if err != nil {
			return cache{}, fmt.Errorf("identifying the text encoder: %w", err)
		}
		fmt.Fprintf(sum, "%x\n", sha256.Sum256(data))
	}
	fmt.Fprintf(sum, "%x\n", f.Fingerprint())
	kept.model = fmt.Sprintf("%x", sum.Sum(nil))
	kept.dir = filepath.Join(e.Cache, kept.model[:16])
	return kept, nil
}

func (c cache) path(text string) string {
	return filepath.Join(c.dir, fmt.Sprintf("%.16x.safetensors", sha256.Sum256([]byte(text))))
}

// read returns the embeddings of a text, unless they are not there or damaged.
func (c cache) read(text string) ([]float32, bool) {
	if c.dir == "" {
		return nil, false
	}
	f, err := weights.Open(c.path(text))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	p, err := readPrompts(f)
	meta := f.Metadata()
	sound := err == nil && diffusion.Finite(p.Embeds.Data) && slices.Equal(p.Texts, []string{text}) &&
		p.Embeds.Tokens == TextTokens && p.Embeds.Dim == c.dim &&
		meta["model"] == c.model && meta["checksum"] == checksum(p.Embeds.Data)
	return p.Embeds.Data, sound
}

func (c cache) write(text string, values []float32, mask []int32) error {
	if c.dir == "" {
		return nil
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	p := Prompts{Texts: []string{text}, Embeds: model.Embeddings{N: 1, Tokens: TextTokens, Dim: c.dim, Data: values},
		Mask: mask}
	return p.Write(c.path(text), map[string]string{"model": c.model, "checksum": checksum(values)})
}

func checksum(values []float32) string {
	data := weights.FromFloat32([]int{len(values)}, values).Data
	return fmt.Sprintf("crc32c:%08x", crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}
