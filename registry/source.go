package registry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/weights/hub"
)

// Source tells where a model comes from that is not on this machine. It has a place in JSON.
type Source struct {
	Model   string `json:"model"`
	Text    string `json:"text" doc:"for people"`
	Command string `json:"command,omitempty" doc:"fetches it"`
	Bytes   int64  `json:"bytes,omitempty" doc:"to be fetched, where that is known"`
	Memory  int64  `json:"memory,omitempty" doc:"that drawing needs, where that is known, in bytes"`
}

// release is a model of the hub. unet are its UNet's parameters, in millions. First stages come with T5-XXL's encoder.
type release struct {
	name   string
	unet   int64
	second bool
}

var released = []release{
	{"DeepFloyd/IF-I-M-v1.0", 372, false}, {"DeepFloyd/IF-I-L-v1.0", 935, false},
	{"DeepFloyd/IF-I-XL-v1.0", 4300, false}, {"DeepFloyd/IF-II-M-v1.0", 658, true},
}

const t5 = 4760 // millions of parameters

// Released lists the models of the hub that draw from noise and are known to be drawn with.
func Released() (names []string) {
	for _, r := range released {
		if !r.second {
			names = append(names, r.name)
		}
	}
	return names
}

// SourceOf tells where a model comes from. It looks for nothing on this machine.
func SourceOf(name string) Source {
	m := Source{Model: name}
	if !hub.IsRepo(name) {
		m.Text = "It is the folder of a run or of a model: copy it to this machine, or train it anew."
		return m
	}
	m.Command = "unnoise model pull " + name + " --variant fp16"
	i := slices.IndexFunc(released, func(r release) bool { return r.name == name })
	if i < 0 {
		m.Command, m.Text = "unnoise model pull "+name, "It is fetched from the hub."
		return m
	}
	parts := []int64{released[i].unet}
	if !released[i].second {
		parts = append(parts, t5)
	}
	const half = 2_000_000 // bytes of a million parameters
	var sum int64
	for _, p := range parts {
		sum += p
	}
	m.Bytes, m.Memory = half*sum, half*slices.Max(parts)+besides
	m.Text = fmt.Sprintf("%.1f GB are to be fetched.", float64(m.Bytes)/1e9)
	if total, _ := memory.Read(); total > 0 {
		enough := "are too few"
		if total >= uint64(m.Memory) {
			enough = "are enough"
		}
		m.Text += fmt.Sprintf(" It needs about %.0f GB of memory: the %.0f GB here %s.", float64(m.Memory)/1e9,
			float64(total)/1e9, enough)
	}
	if strings.HasPrefix(name, "DeepFloyd/") {
		m.Text += " The hub asks for an account that has agreed to the license."
	}
	return m
}
