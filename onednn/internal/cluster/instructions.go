package cluster

// Op is an instruction of a program, over registers that hold float32.
type Op uint8

// The instructions. Those up to OpXor have two operands, FMA and Where three, the others one.
const (
	OpAdd Op = iota
	OpSub
	OpMul
	OpDiv
	OpMax
	OpMin
	OpPow
	OpFMA // a·b + c
	OpEq
	OpNe
	OpLt
	OpLe
	OpGt
	OpGe
	OpAnd
	OpOr
	OpXor
	OpWhere // a ≠ 0 ? b : c
	OpNeg
	OpAbs
	OpExp
	OpExpm1
	OpLog
	OpLog1p
	OpSqrt
	OpRsqrt
	OpTanh
	OpErf
	OpLogistic
	OpSin
	OpCos
	OpFloor
	OpCeil
	OpRound
	OpSign
	OpNot
	OpIsFinite
	OpIsNaN
	OpGelu
	OpGeluGradient
	OpRoundBF16
	OpRoundF16
	Ops // how many there are
)

// Instruction is one step of a program: dst = op(a, b, c).
type Instruction struct {
	Op           Op
	Dst, A, B, C uint8
}
