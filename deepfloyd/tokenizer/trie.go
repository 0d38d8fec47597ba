package tokenizer

import "bytes"

// trie is a set of strings with a value each. Its nodes are numbered breadth first, so that child i of all is node i+1.
type trie struct {
	labels []byte  // of the edges to all children, node after node
	first  []int32 // where a node's edges begin in labels; one more at the end
	values []int32 // of the string that ends at a node; negative: none does
}

const noValue = -1

// newTrie makes a trie of different strings in order.
func newTrie(keys []string, values []int32) trie {
	type span struct{ from, to, depth int }
	var t trie
	queue := []span{{0, len(keys), 0}}
	for n := 0; n < len(queue); n++ {
		s := queue[n]
		t.first = append(t.first, int32(len(t.labels)))
		value := int32(noValue)
		if s.from < s.to && len(keys[s.from]) == s.depth {
			value = values[s.from]
			s.from++
		}
		t.values = append(t.values, value)
		for from := s.from; from < s.to; {
			label, to := keys[from][s.depth], from+1
			for to < s.to && keys[to][s.depth] == label {
				to++
			}
			t.labels = append(t.labels, label)
			queue = append(queue, span{from, to, s.depth + 1})
			from = to
		}
	}
	t.first = append(t.first, int32(len(t.labels)))
	return t
}

// step follows an edge; it returns 0, the root, where there is none.
func (t *trie) step(node int32, label byte) int32 {
	from, to := t.first[node], t.first[node+1]
	i := bytes.IndexByte(t.labels[from:to], label)
	if i < 0 {
		return 0
	}
	return from + int32(i) + 1
}

// longest returns the length of the longest string of the trie that s begins with.
func (t *trie) longest(s string) (length int) {
	node := int32(0)
	for i := range len(s) {
		if node = t.step(node, s[i]); node == 0 {
			break
		}
		if t.values[node] != noValue {
			length = i + 1
		}
	}
	return length
}
