package pth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/unnoise/unnoise/weights"
)

// The opcodes that are understood, by their names in Python's pickletools.
const (
	opProto           = 0x80
	opFrame           = 0x95
	opStop            = '.'
	opMark            = '('
	opNone            = 'N'
	opTrue            = 0x88
	opFalse           = 0x89
	opBinInt          = 'J'
	opBinInt1         = 'K'
	opBinInt2         = 'M'
	opLong1           = 0x8a
	opBinFloat        = 'G'
	opBinUnicode      = 'X'
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opEmptyDict       = '}'
	opSetItem         = 's'
	opSetItems        = 'u'
	opEmptyList       = ']'
	opAppend          = 'a'
	opAppends         = 'e'
	opEmptyTuple      = ')'
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opTuple           = 't'
	opBinPut          = 'q'
	opLongBinPut      = 'r'
	opMemoize         = 0x94
	opBinGet          = 'h'
	opLongBinGet      = 'j'
	opGlobal          = 'c'
	opStackGlobal     = 0x93
	opReduce          = 'R'
	opBinPersID       = 'Q'
)

// refused are the other opcodes, and what they are for.
var refused = map[byte]string{
	'b': "BUILD, which sets the attributes of an object", 'i': "INST, which calls a function",
	'o':  "OBJ, which calls a function",
	0x81: "NEWOBJ, which makes an object", 0x92: "NEWOBJ_EX, which makes an object",
	0x82: "EXT1, which looks up an extension", 0x83: "EXT2, which looks up an extension",
	0x84: "EXT4, which looks up an extension",
	'P':  "PERSID, an object from elsewhere by its name", 0x97: "NEXT_BUFFER, a buffer from elsewhere",
	0x98: "READONLY_BUFFER, a buffer from elsewhere",
	0x8b: "LONG4, a number of more than 64 bits", 'B': "BINBYTES, bytes", 'C': "SHORT_BINBYTES, bytes",
	0x8e: "BINBYTES8, bytes", 0x96: "BYTEARRAY8, bytes",
	'T': "BINSTRING, a text of Python 2", 'U': "SHORT_BINSTRING, a text of Python 2",
	0x8f: "EMPTY_SET, a set", 0x90: "ADDITEMS, a set", 0x91: "FROZENSET, a set",
	'0': "POP", '1': "POP_MARK", '2': "DUP", 'd': "DICT", 'l': "LIST",
	'I': "INT of protocol 0", 'L': "LONG of protocol 0", 'F': "FLOAT of protocol 0", 'S': "STRING of protocol 0",
	'V': "UNICODE of protocol 0", 'p': "PUT of protocol 0", 'g': "GET of protocol 0",
}

// global is a function or class that a pickle names.
type global struct{ module, name string }

var (
	orderedDict   = global{"collections", "OrderedDict"}
	rebuildTensor = global{"torch._utils", "_rebuild_tensor_v2"}

	rebuildParameter = global{"torch._utils", "_rebuild_parameter"}
)

// storages are torch's classes of storages.
var storages = map[global]weights.DType{
	{"torch", "FloatStorage"}: weights.F32, {"torch", "DoubleStorage"}: weights.F64,
	{"torch", "HalfStorage"}: weights.F16, {"torch", "BFloat16Storage"}: weights.BF16,
	{"torch", "LongStorage"}: weights.I64, {"torch", "IntStorage"}: weights.I32, {"torch", "ShortStorage"}: weights.I16,
	{"torch", "CharStorage"}: weights.I8,
	{"torch", "ByteStorage"}: weights.U8, {"torch", "BoolStorage"}: weights.BOOL,
}

// storage is the numbers that tensors are views of.
type storage struct {
	dtype weights.DType
	data  []byte
}

// machine is what a pickle's opcodes work on.
type machine struct {
	in      []byte
	at      int // the next byte
	opcode  int // where the last opcode stands
	stack   []any
	marks   []int
	memo    map[uint64]any
	archive *archive
	copies  int // bytes that tensors may still be copied to
}

// run returns the one value that is left at the end.
func (m *machine) run() (any, error) {
	for {
		m.opcode = m.at
		op, err := m.number(1)
		if err != nil {
			return nil, err
		}
		if op == opStop {
			break
		}
		if err := m.step(byte(op)); err != nil {
			return nil, err
		}
	}
	if len(m.stack) != 1 || len(m.marks) != 0 || m.at != len(m.in) {
		return nil, fmt.Errorf("it ends with %d values, %d marks and %d bytes to come; want one value", len(m.stack),
			len(m.marks), len(m.in)-m.at)
	}
	return m.stack[0], nil
}

func (m *machine) step(op byte) error {
	switch op {
	case opProto:
		v, err := m.number(1)
		if err == nil && (v < 2 || v > 5) {
			err = fmt.Errorf("its protocol is %d, expected 2 to 5", v)
		}
		return err
	case opFrame: // only says how much a reader may read ahead
		_, err := m.number(8)
		return err
	case opMark:
		m.marks = append(m.marks, len(m.stack))
		return nil
	case opNone:
		return m.push(nil)
	case opTrue:
		return m.push(true)
	case opFalse:
		return m.push(false)
	case opBinInt:
		v, err := m.number(4)
		return m.pushIf(int64(int32(v)), err)
	case opBinInt1:
		v, err := m.number(1)
		return m.pushIf(int64(v), err)
	case opBinInt2:
		v, err := m.number(2)
		return m.pushIf(int64(v), err)
	case opLong1:
		return m.long()
	case opBinFloat:
		v, err := m.bytes(8)
		if err != nil {
			return err
		}
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(v)))
	case opShortBinUnicode:
		return m.text(1)
	case opBinUnicode:
		return m.text(4)
	case opBinUnicode8:
		return m.text(8)
	case opEmptyDict:
		return m.push(&Dict{})
	case opEmptyList:
		return m.push(&List{})
	case opEmptyTuple:
		return m.push(Tuple{})
	case opTuple1, opTuple2, opTuple3:
		v, err := m.pop(int(op-opTuple1) + 1)
		return m.pushIf(Tuple(slices.Clone(v)), err)
	case opTuple:
		v, err := m.popMark()
		return m.pushIf(Tuple(slices.Clone(v)), err)
	case opAppend:
		v, err := m.pop(1)
		if err != nil {
			return err
		}
		return m.extend(v)
	case opAppends:
		v, err := m.popMark()
		if err != nil {
			return err
		}
		return m.extend(v)
	case opSetItem:
		v, err := m.pop(2)
		if err != nil {
			return err
		}
		return m.set(v)
	case opSetItems:
		v, err := m.popMark()
		if err != nil {
			return err
		}
		return m.set(v)
	case opBinPut, opLongBinPut:
		i, err := m.number(index(op == opLongBinPut))
		if err != nil {
			return err
		}
		return m.put(i)
	case opMemoize:
		return m.put(uint64(len(m.memo)))
	case opBinGet, opLongBinGet:
		i, err := m.number(index(op == opLongBinGet))
		if err != nil {
			return err
		}
		v, ok := m.memo[i]
		if !ok {
			return fmt.Errorf("it takes value %d, which it did not keep", i)
		}
		return m.push(v)
	case opGlobal:
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		return m.global(module, name)
	case opStackGlobal:
		v, err := m.pop(2)
		if err != nil {
			return err
		}
		module, ok1 := v[0].(string)
		name, ok2 := v[1].(string)
		if !ok1 || !ok2 {
			return fmt.Errorf("it names a function by %s and %s; want two texts", describe(v[0]), describe(v[1]))
		}
		return m.global(module, name)
	case opReduce:
		return m.reduce()
	case opBinPersID:
		return m.storage()
	}
	if what, ok := refused[op]; ok {
		return fmt.Errorf("it has the opcode %s: only tensors in plain dictionaries, lists and tuples are read; %s",
			what, saveAgain)
	}
	return fmt.Errorf("it has the unknown opcode %#02x: the file is damaged", op)
}

const saveAgain = "if you trust the file, load it with torch and save a plain dict of its tensors"

// index is how many bytes a memo's index has.
func index(long bool) int {
	if long {
		return 4
	}
	return 1
}

var errTruncated = errors.New("it ends in the middle (is the file truncated?)")

func (m *machine) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(m.in)-m.at) {
		return nil, errTruncated
	}
	v := m.in[m.at : m.at+int(n)]
	m.at += int(n)
	return v, nil
}

// number reads a little-endian number of size bytes.
func (m *machine) number(size int) (v uint64, err error) {
	data, err := m.bytes(uint64(size))
	for i, b := range data {
		v |= uint64(b) << (8 * i)
	}
	return v, err
}

// long reads a two's complement number.
func (m *machine) long() error {
	size, err := m.number(1)
	if err != nil {
		return err
	}
	if size > 8 {
		return fmt.Errorf("it has a number of %d bytes; at most 8 are read", size)
	}
	v, err := m.number(int(size))
	shift := 64 - 8*size // of 64 for an empty number, which is 0
	return m.pushIf(int64(v<<shift)>>shift, err)
}

func (m *machine) text(sizeBytes int) error {
	size, err := m.number(sizeBytes)
	if err != nil {
		return err
	}
	v, err := m.bytes(size)
	if err == nil && !utf8.Valid(v) {
		err = errors.New("it has a text that is not valid UTF-8")
	}
	return m.pushIf(string(v), err)
}

func (m *machine) line() (string, error) {
	end := slices.Index(m.in[m.at:], '\n')
	if end < 0 {
		return "", errTruncated
	}
	v, err := m.bytes(uint64(end) + 1)
	return string(v[:end]), err
}

func (m *machine) push(v any) error {
	m.stack = append(m.stack, v)
	return nil
}

func (m *machine) pushIf(v any, err error) error {
	if err != nil {
		return err
	}
	return m.push(v)
}

// pop takes the last n values, which the caller must use before the next push.
func (m *machine) pop(n int) ([]any, error) {
	low := 0
	if len(m.marks) > 0 {
		low = m.marks[len(m.marks)-1]
	}
	if len(m.stack)-low < n {
		return nil, errors.New("it takes a value that is not there")
	}
	at := len(m.stack) - n
	v := m.stack[at:]
	m.stack = m.stack[:at]
	return v, nil
}

// popMark takes what was pushed since the last mark.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, errors.New("it goes back to a mark that is not there")
	}
	at := m.marks[len(m.marks)-1]
	m.marks = m.marks[:len(m.marks)-1]
	v := m.stack[at:]
	m.stack = m.stack[:at]
	return v, nil
}

// top returns the last value, which stays.
func (m *machine) top() (any, error) {
	v, err := m.pop(1)
	if err != nil {
		return nil, err
	}
	m.stack = append(m.stack, v[0])
	return v[0], nil
}

func (m *machine) put(i uint64) error {
	v, err := m.top()
	if err == nil {
		m.memo[i] = v
	}
	return err
}

func (m *machine) extend(items []any) error {
	items = slices.Clone(items)
	v, err := m.top()
	if err != nil {
		return err
	}
	list, ok := v.(*List)
	if !ok {
		return fmt.Errorf("it appends to %s; want a list", describe(v))
	}
	list.Items = append(list.Items, items...)
	return nil
}

func (m *machine) set(items []any) error {
	items = slices.Clone(items)
	v, err := m.top()
	if err != nil {
		return err
	}
	dict, ok := v.(*Dict)
	if !ok || len(items)%2 != 0 {
		return fmt.Errorf("it sets %d keys and values of %s; want pairs and a dictionary", len(items), describe(v))
	}
	for pair := range slices.Chunk(items, 2) {
		switch pair[0].(type) {
		case string, int64:
		default:
			return fmt.Errorf("a dictionary has the key %s; want a text or a whole number", describe(pair[0]))
		}
		if dict.keys[pair[0]] {
			return fmt.Errorf("a dictionary has the key %s twice", key(pair[0]))
		}
		if dict.keys == nil {
			dict.keys = map[any]bool{}
		}
		dict.keys[pair[0]] = true
		dict.Items = append(dict.Items, Item{pair[0], pair[1]})
	}
	return nil
}

// global pushes one of the few names that are known.
func (m *machine) global(module, name string) error {
	g := global{module, name}
	if _, ok := storages[g]; ok || g == orderedDict || g == rebuildTensor || g == rebuildParameter {
		return m.push(g)
	}
	return fmt.Errorf("it names %.100q, which is not run: only tensors in plain dictionaries, lists and tuples are "+
		"read; %s", module+"."+name, saveAgain)
}

func (m *machine) reduce() error {
	v, err := m.pop(2)
	if err != nil {
		return err
	}
	args, ok := v[1].(Tuple)
	switch {
	case !ok:
	case v[0] == any(orderedDict) && len(args) == 0:
		return m.push(&Dict{})
	case v[0] == any(rebuildTensor):
		t, err := m.tensor(args)
		return m.pushIf(t, err)
	case v[0] == any(rebuildParameter) && len(args) == 3: // the tensor, whether it is trained, hooks
		t, isTensor := args[0].(weights.Tensor)
		if hooks, ok := args[2].(*Dict); isTensor && (args[2] == nil || ok && len(hooks.Items) == 0) {
			return m.push(t)
		}
	}
	return fmt.Errorf("it calls %s with %s, which is not run", describe(v[0]), describe(v[1]))
}

// storage reads what torch calls a persistent id: ("storage", class, key, device, elements).
func (m *machine) storage() error {
	v, err := m.pop(1)
	if err != nil {
		return err
	}
	id, ok := v[0].(Tuple)
	if !ok || len(id) != 5 || id[0] != any("storage") {
		return fmt.Errorf("it refers to %s; want a storage", describe(v[0]))
	}
	class, ok1 := id[1].(global)
	dtype, ok2 := storages[class]
	name, ok3 := id[2].(string)
	elements, ok4 := id[4].(int64)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return fmt.Errorf("it refers to a storage of %s, %s and %s; want a class, a name and a number of elements",
			describe(id[1]), describe(id[2]), describe(id[4]))
	}
	data, err := m.archive.entry("data/" + name)
	if err != nil {
		return err
	}
	if size := int64(dtype.Size()); elements < 0 || elements > math.MaxInt64/size || elements*size != int64(len(data)) {
		return fmt.Errorf("its storage data/%s of %d elements of %s has %d bytes", name, elements, dtype, len(data))
	}
	return m.push(storage{dtype, data})
}

// describe says in words what a value is.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case string:
		return fmt.Sprintf("the text %.60q", v)
	case int64, float64:
		return fmt.Sprintf("the number %v", v)
	case weights.Tensor:
		return fmt.Sprintf("a tensor %s %v", v.DType, v.Shape)
	case *Dict:
		return fmt.Sprintf("a dictionary of %d", len(v.Items))
	case *List:
		return fmt.Sprintf("a list of %d", len(v.Items))
	case Tuple:
		return fmt.Sprintf("a tuple of %d", len(v))
	case global:
		return v.module + "." + v.name
	case storage:
		return "a storage"
	}
	return fmt.Sprint(v)
}
