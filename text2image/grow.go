package text2image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// Grown returns a network with one more level of resolution around n's, and its values. What n has learned in half the
// size, the larger one draws in the whole size from its first step on: the new level halves what comes in, lets n's
// levels work on it, and doubles what comes out. Its own layers add nothing until they have learned something, since
// their last convolutions are 0. This is the growing of Karras et al. 2018 (arXiv:1710.10196), for a UNet.
func (n *Network) Grown(values map[string]weights.Tensor, seed uint64) (*Network, map[string]weights.Tensor, error) {
	config, err := grownConfig(n.UNetConfig)
	if err != nil {
		return nil, nil, fmt.Errorf("unet: %w", err)
	}
	grown := &Network{UNetConfig: config, TextConfig: n.TextConfig, Scheduler: n.Scheduler, Vocabulary: n.Vocabulary}
	if _, err := grown.parse(); err != nil {
		return nil, nil, err
	}
	known := map[string]weights.Tensor{}
	for name, v := range values {
		known[inner(name)] = v
	}
	start := grown.Initial(seed)
	maps.Copy(start, known)
	for _, p := range grown.Params() {
		if _, ok := known[p.Name]; ok {
			continue
		}
		switch {
		case strings.HasSuffix(p.Name, ".conv_shortcut.weight"):
			start[p.Name] = p.Tensor(firstChannels(p.Shape))
		case strings.Contains(p.Name, ".conv2."), strings.HasSuffix(p.Name, ".conv_shortcut.bias"):
			start[p.Name] = p.Tensor(make([]float32, nn.Size(p.Shape)))
		}
	}
	return grown, start, nil
}

// firstChannels are weights of a 1×1 convolution [out, in, 1, 1] that lets the first channels pass: those that come
// from below. The others are what the level has kept of its own.
func firstChannels(shape []int) []float32 {
	w, in := make([]float32, nn.Size(shape)), shape[1]
	for i := range shape[0] {
		w[i*in+i] = 1
	}
	return w
}

var downBlock = regexp.MustCompile(`^` + regexp.QuoteMeta(unetPrefix) + `down_blocks\.(\d+)\.`)

// inner is what a parameter is called when there is a level around its own: blocks count from the outermost on the way
// down, and from the innermost on the way up.
func inner(name string) string {
	return downBlock.ReplaceAllStringFunc(name, func(s string) string {
		i, _ := strconv.Atoi(downBlock.FindStringSubmatch(s)[1])
		return fmt.Sprintf("%sdown_blocks.%d.", unetPrefix, i+1)
	})
}

// grownConfig is a UNet's config.json with one more level, as wide as the outermost one and without attention.
func grownConfig(config []byte) (json.RawMessage, error) {
	var c map[string]any
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber()
	if err := d.Decode(&c); err != nil {
		return nil, err
	}
	for key, outer := range map[string]any{
		"block_out_channels": nil, "layers_per_block": nil, "down_block_types": "ResnetDownsampleBlock2D",
		"up_block_types": "ResnetUpsampleBlock2D", "attention_head_dim": nil, "num_attention_heads": nil,
	} {
		list, ok := c[key].([]any)
		if !ok {
			continue // one value for all levels
		}
		if outer == nil {
			outer = list[0]
		}
		if key == "up_block_types" {
			c[key] = append(list, outer)
		} else {
			c[key] = append([]any{outer}, list...)
		}
	}
	return json.Marshal(c)
}
