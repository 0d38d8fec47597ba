package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// The types of pieces in sentencepiece_model.proto.
const (
	normal      = 1
	unknown     = 2
	control     = 3 // never made from text
	userDefined = 4 // cut out of a text before all others
	unused      = 5
	byteValue   = 6
)

const unigram = 1

var algorithms = map[int]string{unigram: "unigram", 2: "bpe", 3: "word", 4: "char"}

type piece struct {
	text  string
	score float32
	kind  int
}

// model is what this package reads of a ModelProto.
type model struct {
	pieces           []piece
	algorithm        int
	byteFallback     bool
	closing, padding string
	normalizer       spec
	charsmap         []byte
}

func parseModel(data []byte) (*model, error) {
	m := &model{algorithm: unigram, normalizer: spec{dummyPrefix: true, removeSpaces: true, escapeSpaces: true}}
	err := eachField(data, func(f field) error {
		switch f.number {
		case 1:
			p, err := parsePiece(f)
			if err != nil {
				return fmt.Errorf("piece %d: %w", len(m.pieces), err)
			}
			m.pieces = append(m.pieces, p)
		case 2:
			if err := f.message(m.trainerField); err != nil {
				return fmt.Errorf("trainer_spec: %w", err)
			}
		case 3:
			if err := f.message(m.normalizerField); err != nil {
				return fmt.Errorf("normalizer_spec: %w", err)
			}
		}
		return nil
	})
	if m.closing == "" {
		m.closing = "</s>"
	}
	if m.padding == "" {
		m.padding = "<pad>"
	}
	return m, err
}

func parsePiece(f field) (piece, error) {
	p := piece{kind: normal}
	err := f.message(func(f field) error {
		switch f.number {
		case 1:
			return f.set(&p.text)
		case 2:
			return f.set(&p.score)
		case 3:
			return f.set(&p.kind)
		}
		return nil
	})
	if err != nil {
		return p, err
	}
	return p, p.check()
}

func (p piece) check() error {
	switch {
	case p.text == "":
		return errors.New("it has no text")
	case strings.IndexByte(p.text, 0) >= 0:
		return fmt.Errorf("its text %q holds a zero byte", p.text)
	case math.IsNaN(float64(p.score)) || math.IsInf(float64(p.score), 0):
		return fmt.Errorf("its score is %g; want a number", p.score)
	}
	return nil
}

func (m *model) trainerField(f field) error {
	switch f.number {
	case 3:
		return f.set(&m.algorithm)
	case 24:
		return f.set(&m.normalizer.spaceBehind)
	case 35:
		return f.set(&m.byteFallback)
	case 47:
		return f.set(&m.closing)
	case 48:
		return f.set(&m.padding)
	}
	return nil
}

func (m *model) normalizerField(f field) error {
	switch f.number {
	case 2:
		return f.set(&m.charsmap)
	case 3:
		return f.set(&m.normalizer.dummyPrefix)
	case 4:
		return f.set(&m.normalizer.removeSpaces)
	case 5:
		return f.set(&m.normalizer.escapeSpaces)
	}
	return nil
}

// field is one field of a protobuf message.
type field struct {
	number protowire.Number
	wire   protowire.Type
	bits   uint64 // of a number
	bytes  []byte // of a string or message
}

// eachField calls f with the fields of a message in their order.
func eachField(message []byte, f func(field) error) error {
	for at := 0; at < len(message); {
		number, wire, n := protowire.ConsumeTag(message[at:])
		x := field{number: number, wire: wire}
		value := message[at+max(n, 0):]
		size := n
		if n >= 0 {
			switch wire {
			case protowire.VarintType:
				x.bits, size = protowire.ConsumeVarint(value)
			case protowire.Fixed32Type:
				var v uint32
				v, size = protowire.ConsumeFixed32(value)
				x.bits = uint64(v)
			case protowire.BytesType:
				x.bytes, size = protowire.ConsumeBytes(value)
			default:
				size = protowire.ConsumeFieldValue(number, wire, value)
			}
		}
		if size < 0 {
			return fmt.Errorf("the protobuf can't be read at byte %d of %d: %w", at, len(message),
				protowire.ParseError(size))
		}
		if err := f(x); err != nil {
			return err
		}
		at += n + size
	}
	return nil
}

func (f field) want(w protowire.Type) error {
	if f.wire != w {
		return fmt.Errorf("field %d has wire type %d; want %d", f.number, f.wire, w)
	}
	return nil
}

// message calls each with the fields of a message in a field.
func (f field) message(each func(field) error) error {
	if err := f.want(protowire.BytesType); err != nil {
		return err
	}
	return eachField(f.bytes, each)
}

// set stores the field's value.
func (f field) set(to any) error {
	switch to := to.(type) {
	case *bool:
		*to = f.bits != 0
		return f.want(protowire.VarintType)
	case *int:
		*to = int(int32(f.bits))
		return f.want(protowire.VarintType)
	case *float32:
		*to = math.Float32frombits(uint32(f.bits))
		return f.want(protowire.Fixed32Type)
	case *string:
		*to = string(f.bytes)
	case *[]byte:
		*to = f.bytes
	}
	return f.want(protowire.BytesType)
}
