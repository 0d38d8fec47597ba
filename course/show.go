package course

import (
	"context"
	"fmt"
	"time"

	"github.com/unnoise/unnoise/writeup"
)

// Show draws the demo part by part into a folder. The page is written after each, so that whoever stops it has what was
// there. told is called with a line for each part; first with the page's path, as soon as there is one. It returns what
// the page shows.
func (d *Demo) Show(ctx context.Context, dir string, told func(string)) (data writeup.DemoData, err error) {
	parts, err := d.Parts()
	if err != nil {
		return data, err
	}
	data.Try = Try()
	for i, part := range parts {
		s, took, err := part.Draw(ctx)
		if err != nil {
			if len(data.Sections) > 0 {
				data.Next, data.Stopped = "", true
				if _, failed := writeup.Demo(dir, data); failed != nil {
					return data, failed
				}
			}
			return data, err
		}
		data.Sections = append(data.Sections, s)
		data.Next = "a training"
		if i+1 < len(parts) {
			data.Next = parts[i+1].Name
		}
		page, err := writeup.Demo(dir, data)
		if err != nil {
			return data, err
		}
		if i == 0 {
			told("the page: " + page)
		}
		told(fmt.Sprintf("%-34s %5.1f s", part.Name, took.Round(time.Second/10).Seconds()))
	}
	data.Next = ""
	return data, nil
}
