package registry

import (
	"strings"
	"testing"
)

func TestSourceOf(t *testing.T) {
	for _, name := range Released() {
		s := SourceOf(name)
		if s.Command != "unnoise model pull "+name+" --variant fp16" || s.Bytes <= s.Memory-2*besides ||
			!strings.Contains(s.Text, "GB") {
			t.Errorf("%s comes from %+v", name, s)
		}
	}
	if m := SourceOf("DeepFloyd/IF-I-M-v1.0"); m.Bytes != 10_264_000_000 || m.Memory != 10_520_000_000 {
		t.Errorf("the text encoder and the UNet of IF-I-M are %d bytes, %d in memory", m.Bytes, m.Memory)
	}
	if s := SourceOf("somebody/something"); s.Command != "unnoise model pull somebody/something" || s.Bytes != 0 {
		t.Errorf("a model that is not known comes from %+v", s)
	}
	if s := SourceOf("../runs/emoji"); s.Command != "" || s.Text == "" {
		t.Errorf("a folder comes from %+v", s)
	}
}
