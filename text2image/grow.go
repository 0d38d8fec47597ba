package text2image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/internal/nn"
)

// A first stage learns pictures in half the size first, which take half the time. Its UNet leaves its outermost level
// out for them: what its other levels learn there, the whole network draws in the whole size from its first step on,
// since the outermost level halves what comes in, lets the others work on it, and doubles what comes out. Its own
// layers add nothing until they have learned something. This is the growing of Karras et al. 2018 (arXiv:1710.10196),
// for a UNet.

// innerConfig reads a UNet's config.json without its outermost level; nil where that is of another width than the next.
func innerConfig(config []byte) (*unet.Config, error) {
	var c map[string]any
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber()
	if err := d.Decode(&c); err != nil {
		return nil, err
	}
	if list, ok := c["block_out_channels"].([]any); !ok || len(list) < 2 || list[0] != list[1] {
		return nil, nil
	}
	for _, key := range []string{"block_out_channels", "layers_per_block", "down_block_types", "up_block_types",
		"attention_head_dim", "num_attention_heads"} {
		list, ok := c[key].([]any)
		switch {
		case !ok: // one value for all levels
		case key == "up_block_types":
			c[key] = list[:len(list)-1]
		default:
			c[key] = list[1:]
		}
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	inner, err := unet.ParseConfig("unet", raw)
	return &inner, err
}

var downBlock = regexp.MustCompile(`^down_blocks\.(\d+)\.`)

// outerName is what a parameter of the UNet without its outermost level is called in the whole: blocks count from the
// outermost on the way down, and from the innermost on the way up.
func outerName(name string) string {
	return downBlock.ReplaceAllStringFunc(name, func(s string) string {
		i, _ := strconv.Atoi(downBlock.FindStringSubmatch(s)[1])
		return fmt.Sprintf("down_blocks.%d.", i+1)
	})
}

// innerOf returns what the UNet without its outermost level has of all of the UNet's.
func innerOf[T any](inner unet.Config, all map[string]T) map[string]T {
	own := map[string]T{}
	for _, p := range inner.Params() {
		own[p.Name] = all[outerName(p.Name)]
	}
	return own
}

// unetParams are the UNet's, of which the outermost level's begin with values that add nothing to what the others do.
func (n *Network) unetParams() []nn.Param {
	all := n.unet.Params()
	if n.inner == nil {
		return all
	}
	shared := map[string]bool{}
	for _, p := range n.inner.Params() {
		shared[outerName(p.Name)] = true
	}
	for i, p := range all {
		switch {
		case shared[p.Name]:
		case strings.HasSuffix(p.Name, ".conv_shortcut.weight"):
			all[i] = p.Passing() // what comes from below, without what the level has kept of its own
		case strings.Contains(p.Name, ".conv2."), strings.HasSuffix(p.Name, ".conv_shortcut.bias"):
			all[i] = p.Zeros()
		}
	}
	return all
}
