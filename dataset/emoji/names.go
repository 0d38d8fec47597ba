package emoji

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed everyday.txt
var everydayText string

// everyday returns the names of the concepts that everyone knows, by their Unicode labels.
func everyday() map[string][]string {
	names := map[string][]string{}
	for line := range strings.Lines(everydayText) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		label, rest := line, ""
		if at := strings.LastIndex(line, ": "); at >= 0 {
			label, rest = line[:at], line[at+2:]
		}
		if rest == "" {
			rest = plainName(label)
		}
		for name := range strings.SplitSeq(rest, ";") {
			names[label] = append(names[label], strings.TrimSpace(name))
		}
	}
	return names
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

// A name is written as in everyday.txt: "~" before it says that it takes no article and no plural.

func bare(name string) string { return strings.TrimPrefix(name, "~") }

func countable(name string) bool { return !strings.HasPrefix(name, "~") }

// withArticle puts a or an before a name, and words such as colours between them.
func withArticle(name string, words ...string) string {
	phrase := strings.Join(append(slices.Clone(words), bare(name)), " ")
	if !countable(name) {
		return phrase
	}
	if strings.ContainsRune("aeio", rune(phrase[0])) || strings.HasPrefix(phrase, "um") || strings.HasPrefix(phrase, "hour") {
		if !strings.HasPrefix(phrase, "one") && !strings.HasPrefix(phrase, "eu") {
			return "an " + phrase
		}
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
	rest := ""
	for _, between := range []string{" of ", " with ", " in ", " on ", " behind ", " covering ", " over "} {
		if at := strings.Index(name, between); at > 0 {
			name, rest = name[:at], name[at:]+rest
		}
	}
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

var numbers = []string{"no", "one", "two", "three", "four"}

func count(n int, name string, words ...string) string {
	return fmt.Sprint(numbers[n], " ", strings.Join(append(slices.Clone(words), plural(name)), " "))
}
