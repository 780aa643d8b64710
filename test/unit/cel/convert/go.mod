module cube/test/unit/cel/convert

go 1.24

require (
	cel.dev/expr v0.25.3
	google.golang.org/protobuf v1.36.11
)
