// SPDX-License-Identifier: Apache-2.0

// Command convert turns the language's conformance cases (module cel.dev/expr, tests/simple/testdata/*.textproto,
// Apache-2.0) into one line of JSON a case, which test_conformance.c reads: go run . DIR >../conformance.jsonl
//
// Values are written as expressions of the language itself.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	expr "cel.dev/expr"
	testpb "cel.dev/expr/conformance/test"
	_ "cel.dev/expr/conformance/proto2"
	_ "cel.dev/expr/conformance/proto3"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type testCase struct {
	Name      string            `json:"name"` // file/section/test
	Expr      string            `json:"expr"`
	Container string            `json:"container,omitempty"`
	Unchecked bool              `json:"unchecked,omitempty"`
	CheckOnly bool              `json:"checkOnly,omitempty"`
	NoMacros  bool              `json:"noMacros,omitempty"`
	Types     map[string]string `json:"types,omitempty"`
	Bindings  map[string]string `json:"bindings,omitempty"`
	Value     string            `json:"value,omitempty"`
	Type      string            `json:"type,omitempty"`
	Error     bool              `json:"error,omitempty"`
	Needs     string            `json:"needs,omitempty"` // what no line can say: why the case cannot be run
}

type unsupported string

func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < 32 || r == 127:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

func bytesText(p []byte) string {
	var b strings.Builder
	b.WriteString(`b"`)
	for _, c := range p {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return b.String() + `"`
}

func double(d float64) string {
	if math.IsNaN(d) || math.IsInf(d, 0) {
		return fmt.Sprintf("double(%q)", strings.TrimPrefix(strconv.FormatFloat(d, 'g', -1, 64), "+"))
	}
	if d == 0 && math.Signbit(d) {
		return "-0.0"
	}
	s := strconv.FormatFloat(d, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

func jsonValue(v *structpb.Value) string {
	switch k := v.GetKind().(type) {
	case *structpb.Value_BoolValue:
		return strconv.FormatBool(k.BoolValue)
	case *structpb.Value_NumberValue:
		return double(k.NumberValue)
	case *structpb.Value_StringValue:
		return quote(k.StringValue)
	case *structpb.Value_ListValue:
		return jsonList(k.ListValue)
	case *structpb.Value_StructValue:
		return jsonStruct(k.StructValue)
	}
	return "null"
}

func jsonList(l *structpb.ListValue) string {
	var items []string
	for _, v := range l.GetValues() {
		items = append(items, jsonValue(v))
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func jsonStruct(s *structpb.Struct) string {
	var items []string
	for k, v := range s.GetFields() {
		items = append(items, quote(k)+": "+jsonValue(v))
	}
	sort.Strings(items)
	return "{" + strings.Join(items, ", ") + "}"
}

func anyValue(a *anypb.Any) string {
	m, err := a.UnmarshalNew()
	if err != nil {
		panic(unsupported("a message of an unknown type"))
	}
	switch v := m.(type) {
	case *timestamppb.Timestamp:
		return fmt.Sprintf("timestamp(%q)", v.AsTime().Format(time.RFC3339Nano))
	case *durationpb.Duration:
		return fmt.Sprintf("duration(%q)", fmt.Sprintf("%ds", v.Seconds)) + durationNanos(v)
	case *wrapperspb.BoolValue:
		return strconv.FormatBool(v.Value)
	case *wrapperspb.Int32Value:
		return strconv.Itoa(int(v.Value))
	case *wrapperspb.Int64Value:
		return strconv.FormatInt(v.Value, 10)
	case *wrapperspb.UInt32Value:
		return fmt.Sprintf("%du", v.Value)
	case *wrapperspb.UInt64Value:
		return fmt.Sprintf("%du", v.Value)
	case *wrapperspb.FloatValue:
		return double(float64(v.Value))
	case *wrapperspb.DoubleValue:
		return double(v.Value)
	case *wrapperspb.StringValue:
		return quote(v.Value)
	case *wrapperspb.BytesValue:
		return bytesText(v.Value)
	case *structpb.Struct:
		return jsonStruct(v)
	case *structpb.ListValue:
		return jsonList(v)
	case *structpb.Value:
		return jsonValue(v)
	}
	panic(unsupported("protobuf messages"))
}

func durationNanos(d *durationpb.Duration) string {
	if d.Nanos == 0 {
		return ""
	}
	return fmt.Sprintf(" + duration(\"%dns\")", d.Nanos)
}

func value(v *expr.Value) string {
	switch k := v.GetKind().(type) {
	case *expr.Value_NullValue:
		return "null"
	case *expr.Value_BoolValue:
		return strconv.FormatBool(k.BoolValue)
	case *expr.Value_Int64Value:
		return strconv.FormatInt(k.Int64Value, 10)
	case *expr.Value_Uint64Value:
		return fmt.Sprintf("%du", k.Uint64Value)
	case *expr.Value_DoubleValue:
		return double(k.DoubleValue)
	case *expr.Value_StringValue:
		return quote(k.StringValue)
	case *expr.Value_BytesValue:
		return bytesText(k.BytesValue)
	case *expr.Value_EnumValue:
		panic(unsupported("enums of a type of their own"))
	case *expr.Value_ObjectValue:
		return anyValue(k.ObjectValue)
	case *expr.Value_TypeValue:
		return k.TypeValue
	case *expr.Value_ListValue:
		var items []string
		for _, x := range k.ListValue.GetValues() {
			items = append(items, value(x))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *expr.Value_MapValue:
		var items []string
		for _, e := range k.MapValue.GetEntries() {
			items = append(items, value(e.GetKey())+": "+value(e.GetValue()))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	panic(unsupported(fmt.Sprintf("a value of kind %T", v.GetKind())))
}

func typeText(t *expr.Type) string {
	primitives := map[expr.Type_PrimitiveType]string{expr.Type_BOOL: "bool", expr.Type_INT64: "int", expr.Type_UINT64: "uint",
		expr.Type_DOUBLE: "double", expr.Type_STRING: "string", expr.Type_BYTES: "bytes"}
	switch k := t.GetTypeKind().(type) {
	case *expr.Type_Dyn:
		return "dyn"
	case *expr.Type_Null:
		return "null_type"
	case *expr.Type_Primitive:
		return primitives[k.Primitive]
	case *expr.Type_Wrapper:
		return "wrapper(" + primitives[k.Wrapper] + ")"
	case *expr.Type_WellKnown:
		return map[expr.Type_WellKnownType]string{expr.Type_ANY: "dyn", expr.Type_TIMESTAMP: "timestamp", expr.Type_DURATION: "duration"}[k.WellKnown]
	case *expr.Type_ListType_:
		return "list(" + typeText(k.ListType.GetElemType()) + ")"
	case *expr.Type_MapType_:
		return "map(" + typeText(k.MapType.GetKeyType()) + ", " + typeText(k.MapType.GetValueType()) + ")"
	case *expr.Type_Type:
		return "type"
	case *expr.Type_MessageType:
		return k.MessageType
	case *expr.Type_AbstractType_:
		var params []string
		for _, p := range k.AbstractType.GetParameterTypes() {
			params = append(params, typeText(p))
		}
		return k.AbstractType.GetName() + "(" + strings.Join(params, ", ") + ")"
	}
	return "dyn"
}

func convert(name string, t *testpb.SimpleTest) (c testCase) {
	c = testCase{Name: name, Expr: t.GetExpr(), Container: t.GetContainer(), Unchecked: t.GetDisableCheck(), CheckOnly: t.GetCheckOnly(),
		NoMacros: t.GetDisableMacros(), Types: map[string]string{}, Bindings: map[string]string{}}
	defer func() {
		if r := recover(); r != nil {
			c.Needs = string(r.(unsupported))
		}
	}()
	for _, d := range t.GetTypeEnv() {
		if d.GetIdent() == nil {
			panic(unsupported("functions of the case's own"))
		}
		c.Types[d.GetName()] = typeText(d.GetIdent().GetType())
	}
	for k, v := range t.GetBindings() {
		if v.GetValue() == nil {
			panic(unsupported("unknown values"))
		}
		c.Bindings[k] = value(v.GetValue())
	}
	switch r := t.GetResultMatcher().(type) {
	case *testpb.SimpleTest_Value:
		c.Value = value(r.Value)
	case *testpb.SimpleTest_TypedResult:
		c.Type = typeText(r.TypedResult.GetDeducedType())
		if r.TypedResult.GetResult() != nil {
			c.Value = value(r.TypedResult.GetResult())
		}
	case *testpb.SimpleTest_EvalError, *testpb.SimpleTest_AnyEvalErrors:
		c.Error = true
	case nil:
		c.Value = "true"
	default:
		panic(unsupported("unknown values"))
	}
	return c
}

func main() {
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.textproto"))
	if err != nil || len(files) == 0 {
		panic("no files")
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		var f testpb.SimpleTestFile
		if err := prototext.Unmarshal(text, &f); err != nil {
			panic(err)
		}
		for _, s := range f.GetSection() {
			for _, t := range s.GetTest() {
				out.Encode(convert(f.GetName()+"/"+s.GetName()+"/"+t.GetName(), t))
			}
		}
	}
}
