package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/weights/hub"
)

// modelInfoFlags are those for pipelines of the hub, but for json.
type modelInfoFlags struct {
	computing
	variant string
	json    bool
}

func (f *modelInfoFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.variant, "variant", "",
		"weights to take where a pipeline's folder has several, such as fp16")
	computeFlags(cmd, &f.computing)
	jsonFlag(cmd, &f.json, "print a JSON object")
}

// check refuses the flags that are for pipelines only.
func (f *modelInfoFlags) check(cmd *cobra.Command) error {
	for _, name := range []string{"variant", "backend", "dtype", "threads"} {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is for pipelines of the hub, with a %s in their folder", name, hub.IndexFile)
		}
	}
	return nil
}

// pipeline reports whether a model is a pipeline in the hub's layout, and where it lies.
func (f *modelInfoFlags) pipeline(path string) (place registry.Place, ok bool, err error) {
	place, err = registry.Find(path)
	return place, place.Kind == registry.Pipeline, err
}

// describePipeline prints what a pipeline's folder has and needs, and how one of the program's own was trained.
func (f *modelInfoFlags) describePipeline(cmd *cobra.Command, place registry.Place) error {
	dir := place.Dir
	index, parts, err := deepfloyd.Inspect(dir, f.variant)
	if err != nil {
		return err
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	r, err := registry.ReportPipeline(b, dtype, dir, index, parts)
	if err != nil {
		return err
	}
	r.Version, r.Threads, r.Device = jsonVersion, info.Threads, info.Device
	if f.json {
		return printJSON(cmd.OutOrStdout(), r)
	}
	text := r.Text()
	if place.InProgram() {
		s, err := place.Summary()
		if err != nil {
			return err
		}
		text += "\n" + registry.Describe(s)
	}
	_, err = io.WriteString(cmd.OutOrStdout(), text)
	return err
}
