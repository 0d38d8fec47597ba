package jobs

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/lab"
)

// Able is a model that a worker draws with, or enlarges by.
type Able struct {
	Model    string // as recipes call it
	Upscales bool
}

// AbleOf returns those of some models that this machine has the memory for, of which it warns where it has not.
func AbleOf(l *lab.Lab, names []string, log *slog.Logger) (all []Able, err error) {
	_, available := memory.Read()
	for _, name := range names {
		spec, _, err := l.About(lab.Request{Model: name})
		if err != nil {
			return nil, fmt.Errorf("the model %s: %w", name, err)
		}
		if available > 0 && spec.WeightBytes > int64(available) {
			log.Warn("a model has no room in memory", "model", name, "bytes", spec.WeightBytes, "available", available)
			continue
		}
		all = append(all, Able{spec.ID, spec.Upscales})
	}
	if len(all) == 0 {
		return nil, errors.New("none of the models has room in memory")
	}
	return all, nil
}
