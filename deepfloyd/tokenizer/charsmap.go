package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// charsmap is a model's rules: what is replaced, and by what.
//
// A precompiled_charsmap holds the size of a trie, the trie and the replacements, each closed by a zero byte. The trie
// is darts-clone's double array: a node's child by a label is the unit at the node's offset, exclusive-or the label, if
// that unit has the label; the child by 0 is the node's value, the place of the replacement. Equal subtrees are kept
// once.
type charsmap struct {
	units        []uint32
	replacements string
}

// maxRule bounds the bytes that a rule replaces.
const maxRule = 256

func parseCharsmap(b []byte) (charsmap, error) {
	if len(b) < 4 {
		return charsmap{}, fmt.Errorf("it has %d bytes; want at least 4 for its trie's size", len(b))
	}
	size, b := binary.LittleEndian.Uint32(b), b[4:]
	if uint64(size) > uint64(len(b)) || size%4 != 0 || size == 0 {
		return charsmap{}, fmt.Errorf("its trie has %d bytes, of %d that follow; want a multiple of 4", size, len(b))
	}
	c := charsmap{replacements: string(b[size:])}
	for at := range size / 4 {
		c.units = append(c.units, binary.LittleEndian.Uint32(b[4*at:]))
	}
	return c, c.check(0, 0, make([]byte, len(c.units)))
}

// children is where the children of the unit at a position are, before their labels.
func (c *charsmap) children(at uint32) uint32 {
	u := c.units[at]
	return at ^ u>>10<<(u>>6&8)
}

// child follows an edge.
func (c *charsmap) child(children uint32, label byte) (at uint32, ok bool) {
	at = children ^ uint32(label)
	return at, uint64(at) < uint64(len(c.units)) && c.units[at]&(1<<31|0xff) == uint32(label)
}

// isRule reports whether a rule ends at the unit at a position.
func (c *charsmap) isRule(at uint32) bool { return c.units[at]&(1<<8) != 0 }

// replacement is that of the rule whose node has these children.
func (c *charsmap) replacement(children uint32) (string, error) {
	if uint64(children) >= uint64(len(c.units)) {
		return "", fmt.Errorf("a rule has its value in unit %d of %d", children, len(c.units))
	}
	from := c.units[children] &^ (1 << 31)
	if uint64(from) >= uint64(len(c.replacements)) {
		return "", fmt.Errorf("a rule has its replacement at byte %d of %d", from, len(c.replacements))
	}
	to := strings.IndexByte(c.replacements[from:], 0)
	if to < 0 {
		return "", errors.New("the last replacement has no end")
	}
	return c.replacements[from:][:to], nil
}

// check goes through the trie below the unit at a position once.
func (c *charsmap) check(at uint32, depth int, state []byte) error {
	const open, done = 1, 2
	if state[at] == open || depth > maxRule {
		return fmt.Errorf("its trie has a cycle, or a rule that replaces more than %d bytes", maxRule)
	}
	if state[at] == done {
		return nil
	}
	state[at] = open
	children := c.children(at)
	if at != 0 && c.isRule(at) {
		if _, err := c.replacement(children); err != nil {
			return err
		}
	}
	for label := 1; label < 256; label++ {
		if next, ok := c.child(children, byte(label)); ok {
			if err := c.check(next, depth+1, state); err != nil {
				return err
			}
		}
	}
	state[at] = done
	return nil
}

// longest returns the length and the replacement of the longest beginning of a text that a rule replaces; 0 if there is
// none.
func (c *charsmap) longest(text string) (length int, replacement string) {
	if c.units == nil {
		return 0, ""
	}
	rule, children := uint32(0), c.children(0)
	for i := range len(text) {
		at, ok := c.child(children, text[i])
		if !ok || text[i] == 0 {
			break
		}
		children = c.children(at)
		if c.isRule(at) {
			length, rule = i+1, children
		}
	}
	if length > 0 {
		replacement, _ = c.replacement(rule) // check has seen it
	}
	return length, replacement
}
