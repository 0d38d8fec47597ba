package emoji

import "github.com/unnoise/unnoise/dataset/captioned"

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
