package diffusion

// mt19937 is the 32-bit Mersenne Twister (Matsumoto and Nishimura, 1998), PyTorch's engine on the CPU.
type mt19937 struct {
	state [mtWords]uint32
	next  int // index of the first word not yet handed out; mtWords when all are
}

const (
	mtWords  = 624
	mtMiddle = 397
)

// seed starts the sequence. PyTorch's manual_seed takes 64 bits, its engine only the lower 32 of them.
func (m *mt19937) seed(seed uint32) {
	m.state[0] = seed
	for i := 1; i < mtWords; i++ {
		prev := m.state[i-1]
		m.state[i] = 1812433253*(prev^prev>>30) + uint32(i)
	}
	m.next = mtWords
}

// words returns at most n fresh words, untempered, and at least one when n > 0. They are m's own.
func (m *mt19937) words(n int) []uint32 {
	if m.next == mtWords {
		m.twist()
	}
	end := min(m.next+n, mtWords)
	words := m.state[m.next:end]
	m.next = end
	return words
}

func (m *mt19937) uint32() uint32 { return temper(m.words(1)[0]) }

// uint64 puts two draws together, the first one high.
func (m *mt19937) uint64() uint64 {
	high := uint64(m.uint32())
	return high<<32 | uint64(m.uint32())
}

// twist replaces all words by the next ones.
func (m *mt19937) twist() {
	s := &m.state
	for i := range mtWords - mtMiddle {
		s[i] = s[i+mtMiddle] ^ mix(s[i], s[i+1])
	}
	for i := mtWords - mtMiddle; i < mtWords-1; i++ {
		s[i] = s[i+mtMiddle-mtWords] ^ mix(s[i], s[i+1])
	}
	s[mtWords-1] = s[mtMiddle-1] ^ mix(s[mtWords-1], s[0])
	m.next = 0
}

func mix(a, b uint32) uint32 {
	return (a&0x80000000|b&0x7fffffff)>>1 ^ -(b&1)&0x9908b0df
}

func temper(y uint32) uint32 {
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}
