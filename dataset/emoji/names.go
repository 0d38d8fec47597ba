package emoji

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed names.txt
var namesText string

// named is a line of names.txt.
type named struct {
	label  string
	names  []string
	weight float64
}

// known returns the concepts that names.txt names, by their Unicode labels.
func known() map[string]named {
	all := map[string]named{}
	for line := range strings.Lines(namesText) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		n := named{weight: everydayWeight}
		if rest, ok := strings.CutPrefix(line, "* "); ok {
			line, n.weight = rest, favoriteWeight
		} else if rest, ok := strings.CutPrefix(line, "- "); ok {
			line, n.weight = rest, seldomWeight
		}
		n.label = line
		if at := strings.LastIndex(line, ": "); at >= 0 {
			n.label = line[:at]
			for name := range strings.SplitSeq(line[at+2:], ";") {
				n.names = append(n.names, strings.TrimSpace(name))
			}
		} else {
			n.names = []string{plainName(line)}
		}
		all[n.label] = n
	}
	return all
}

// plainName makes a name of a Unicode label.
func plainName(label string) string {
	label = strings.ToLower(strings.NewReplacer("’", "'", "“", "", "”", "").Replace(label))
	who, what, ok := strings.Cut(label, ": ")
	if !ok {
		return label
	}
	switch what {
	case "bald":
		return "bald " + who
	case "beard":
		return who + " with a beard"
	}
	return who + " with " + what
}

// guessedName makes a name of a Unicode label, and guesses whether it is a plural.
func guessedName(label string) string {
	name := plainName(label)
	if noun, _ := head(name); hasSuffix(noun, "s") && !hasSuffix(noun, "ss", "us") {
		return "~" + name
	}
	return name
}

// A name is written as in names.txt: "~" before it says that it takes no article and no plural.

func bare(name string) string { return strings.TrimPrefix(name, "~") }

func countable(name string) bool { return !strings.HasPrefix(name, "~") }

// withArticle puts a or an before a name, and words such as colors between them.
func withArticle(name string, words ...string) string {
	phrase := strings.Join(append(slices.Clone(words), bare(name)), " ")
	if !countable(name) {
		return phrase
	}
	if hasPrefix(phrase, "a", "e", "i", "o", "um", "hour") && !hasPrefix(phrase, "one", "eu") {
		return "an " + phrase
	}
	return "a " + phrase
}

var irregular = map[string]string{
	"man": "men", "woman": "women", "child": "children", "person": "people", "mouse": "mice", "foot": "feet",
	"tooth": "teeth", "goose": "geese", "sheep": "sheep", "fish": "fish", "deer": "deer", "leaf": "leaves",
	"wolf": "wolves", "knife": "knives", "loaf": "loaves", "scarf": "scarves", "policeman": "policemen", "ox": "oxen",
	"snowman": "snowmen", "merman": "mermen", "moose": "moose", "bison": "bison", "shrimp": "shrimps", "bus": "buses",
	"cactus": "cacti", "potato": "potatoes", "tomato": "tomatoes", "mango": "mangoes", "volcano": "volcanoes",
	"aircraft": "aircraft", "buffalo": "buffaloes", "die": "dice", "dice": "dice", "squid": "squid", "elf": "elves",
}

// plural returns the plural of a countable name: of its first noun where a phrase follows (two cups of tea).
func plural(name string) string {
	name, rest := head(name)
	before, noun := "", name
	if at := strings.LastIndex(name, " "); at >= 0 {
		before, noun = name[:at+1], name[at+1:]
	}
	switch {
	case irregular[noun] != "":
		noun = irregular[noun]
	case hasSuffix(noun, "s", "x", "z", "ch", "sh"):
		noun += "es"
	case hasSuffix(noun, "y") && !hasSuffix(noun, "ay", "ey", "oy", "uy"):
		noun = noun[:len(noun)-1] + "ies"
	default:
		noun += "s"
	}
	return before + noun + rest
}

func hasSuffix(s string, endings ...string) bool {
	return slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(s, e) })
}

// head cuts a name behind its first noun.
func head(name string) (noun, rest string) {
	for _, between := range []string{
		" of ", " with ", " in ", " on ", " behind ", " covering ", " over ", " without ", " that ", " taking ",
	} {
		if at := strings.Index(name, between); at > 0 {
			name, rest = name[:at], name[at:]+rest
		}
	}
	return name, rest
}

func hasPrefix(s string, starts ...string) bool {
	return slices.ContainsFunc(starts, func(x string) bool { return strings.HasPrefix(s, x) })
}

var numbers = []string{"no", "one", "two", "three", "four"}

func count(n int, name string, words ...string) string {
	return fmt.Sprint(numbers[n], " ", strings.Join(append(slices.Clone(words), plural(name)), " "))
}
