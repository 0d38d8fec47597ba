package course

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

// Subjects say what the first half shows: prompts, pictures, illusions.
type Subjects struct {
	Version int `json:"version"`

	Prompts   []string     `json:"prompts"`    // drawn in several numbers of steps
	Plain     string       `json:"plain"`      // what the network is told where nothing is asked for
	Subject   string       `json:"subject"`    // the picture that is noised and denoised
	Photos    []Start      `json:"photos"`     // edited
	Web       []Start      `json:"web"`        // a picture from the web, edited
	Drawings  []Start      `json:"drawings"`   // edited
	TextEdits []Start      `json:"text_edits"` // edited towards another prompt
	Holes     []Hole       `json:"holes"`      // filled
	Anagrams  [][]lab.Part `json:"anagrams"`   // views
	Hybrids   [][]lab.Part `json:"hybrids"`    // bands

	Steps      int     `json:"steps"`      // of the sampler, of which edits start at some
	Starts     []int   `json:"starts"`     // of edits: steps of the path
	Guidance   float64 `json:"guidance"`   // γ
	Candidates int     `json:"candidates"` // of each illusion
}

// Start is a picture that is edited, and what it is to become.
type Start struct {
	Picture string `json:"picture"` // a file, or a picture of the program
	Prompt  string `json:"prompt"`
}

// Hole is a part of a picture that is drawn anew.
type Hole struct {
	Start
	Box string `json:"box"` // x,y,width,height in pixels or percent
}

const subjectsVersion = 1

// ParseSubjects reads subjects in JSON: what they leave out is as in the defaults.
func ParseSubjects(text []byte, defaults Subjects) (Subjects, error) {
	s := defaults
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("expected subjects as 'unnoise writeup --print-subjects' writes them: %w", err)
	}
	if s.Version != subjectsVersion {
		return s, fmt.Errorf("the subjects' version is %d, expected %d", s.Version, subjectsVersion)
	}
	return s, nil
}

// JSON writes the subjects for people to change.
func (s Subjects) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

// Defaults are subjects that suit a model.
func Defaults(spec model.Spec) Subjects {
	s := Subjects{Version: subjectsVersion, Steps: 34, Starts: []int{1, 3, 5, 7, 10, 20}, Guidance: spec.Guidance,
		Candidates: 16}
	parts := func(words ...string) (all []lab.Part) {
		for i := 0; i < len(words); i += 2 {
			all = append(all, lab.Part{As: words[i], Prompts: []string{words[i+1]}})
		}
		return all
	}
	switch {
	case len(spec.Vocabulary) > 0: // digits
		s.Prompts, s.Plain, s.Subject = []string{"2", "5", "8"}, "", "seven"
		s.Photos = []Start{{"cat", "3"}, {"astronaut", "8"}, {"rocket", "1"}}
		s.Web = []Start{{"coffee", "0"}}
		s.Drawings = []Start{{"seven", "7"}, {"three", "3"}}
		s.TextEdits = []Start{{"seven", "9"}, {"three", "8"}, {"seven", "2"}}
		s.Holes = []Hole{{Start{"seven", "9"}, "0,0,100%,50%"}, {Start{"three", "8"}, "0,0,50%,100%"},
			{Start{"three", "5"}, "0,0,100%,48%"}}
		s.Anagrams = [][]lab.Part{parts("identity", "6", "rotate_180", "9"), parts("identity", "3", "rotate_180", "5"),
			parts("identity", "2", "flip", "5")}
		s.Hybrids = [][]lab.Part{parts("low_pass", "9", "high_pass", "7"), parts("low_pass", "6", "high_pass", "4"),
			parts("low_pass", "0", "high_pass", "8")}
	case spec.Height <= 32: // things, as emoji show them
		s.Prompts = []string{"a red heart on a pink background", "a panda face", "a blue car"}
		s.Plain, s.Subject = "a dog", "apple"
		s.Photos = []Start{{"cat", "a cat"}, {"rocket", "a rocket"}, {"astronaut", "an astronaut"}}
		s.Web = []Start{{"coffee", "a cup of coffee"}}
		s.Drawings = []Start{{"apple", "an apple, 3d style"}, {"house", "a house"}}
		s.TextEdits = []Start{{"apple", "a tomato"}, {"house", "a castle"}, {"cat", "a tiger"}}
		s.Holes = []Hole{{Start{"house", "a house at night"}, "0,0,100%,42%"},
			{Start{"apple", "a red apple with a bite"}, "50%,0,50%,100%"}, {Start{"cat", "a cat with glasses"},
				"20%,25%,60%,35%"}}
		s.Anagrams = [][]lab.Part{parts("identity", "an old man", "rotate_180", "fire"),
			parts("identity", "a frog", "rotate_180", "a car"), parts("identity", "a lion", "rotate_180", "a sunflower")}
		s.Hybrids = [][]lab.Part{parts("low_pass", "a red apple", "high_pass", "a cat face"),
			parts("low_pass", "a skull", "high_pass", "a tree"), parts("low_pass", "a lion", "high_pass", "a sunflower")}
	default:
		s.Prompts = []string{"an oil painting of a snowy mountain village", "a man wearing a hat", "a rocket ship"}
		s.Plain, s.Subject, s.Candidates = "a high quality photo", "astronaut", 4
		s.Photos = []Start{{"astronaut", s.Plain}, {"cat", s.Plain}, {"rocket", s.Plain}}
		s.Web = []Start{{"coffee", s.Plain}}
		s.Drawings = []Start{{"apple", s.Plain}, {"house", s.Plain}}
		s.TextEdits = []Start{{"rocket", "a pencil"}, {"cat", "a tiger"}, {"apple", "a photo of a tomato"}}
		s.Holes = []Hole{{Start{"rocket", s.Plain}, "35%,0,30%,60%"}, {Start{"cat", s.Plain}, "25%,20%,50%,40%"},
			{Start{"astronaut", s.Plain}, "30%,0,45%,40%"}}
		s.Anagrams = [][]lab.Part{
			parts("identity", "an oil painting of an old man", "flip", "an oil painting of people around a campfire"),
			parts("identity", "a watercolor of a kitten", "rotate_cw", "a watercolor of a puppy"),
			parts("identity", "a drawing of a penguin", "rotate_180", "a drawing of a giraffe"),
		}
		s.Hybrids = [][]lab.Part{
			parts("low_pass", "a lithograph of a skull", "high_pass", "a lithograph of waterfalls"),
			parts("low_pass", "a photo of a panda", "high_pass", "a photo of houseplants"),
			parts("low_pass", "a painting of a wolf", "high_pass", "a painting of a forest"),
		}
	}
	return s
}
