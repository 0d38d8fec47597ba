package emoji

import (
	"fmt"

	"github.com/unnoise/unnoise/dataset/captioned"
)

// OpenAny opens a folder of captioned pictures: the emoji set or any other. heldout may be nil.
func OpenAny(dir string) (train, heldout captioned.Source, err error) {
	if Is(dir) {
		set, err := Open(dir)
		if err != nil {
			return nil, nil, err
		}
		return set, set.Heldout(), nil
	}
	folder, held, err := captioned.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	if held != nil {
		heldout = held
	}
	return folder, heldout, nil
}

// OpenSplit opens what training sees of a folder, or what it never sees.
func OpenSplit(dir string, heldout bool) (captioned.Source, error) {
	train, held, err := OpenAny(dir)
	switch {
	case err != nil || !heldout:
		return train, err
	case held == nil:
		return nil, fmt.Errorf("%s holds nothing out: its metadata has no split other than train", dir)
	}
	return held, nil
}
