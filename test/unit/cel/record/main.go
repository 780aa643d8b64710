// SPDX-License-Identifier: Apache-2.0

// Command record evaluates expressions with the API server's own environment and tells type, value, costs and errors:
// go run . <expressions.txt >../recorded.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

func text(v ref.Val) string {
	switch x := v.(type) {
	case types.Null:
		return "null"
	case types.Bool:
		return fmt.Sprint(bool(x))
	case types.Int:
		return fmt.Sprint(int64(x))
	case types.Uint:
		return fmt.Sprintf("%du", uint64(x))
	case types.Double:
		s := fmt.Sprintf("%g", float64(x))
		if !strings.ContainsAny(s, ".eNI") {
			s += ".0"
		}
		return s
	case types.String:
		return fmt.Sprintf("%q", string(x))
	case types.Bytes:
		return fmt.Sprintf("b%q", string(x))
	case types.Duration:
		return fmt.Sprintf("duration(%q)", x.ConvertToType(types.StringType).Value())
	case types.Timestamp:
		return fmt.Sprintf("timestamp(%q)", x.ConvertToType(types.StringType).Value())
	case *types.Optional:
		if !x.HasValue() {
			return "optional.none()"
		}
		return "optional.of(" + text(x.GetValue()) + ")"
	case traits.Lister:
		var items []string
		for it := x.Iterator(); it.HasNext() == types.True; {
			items = append(items, text(it.Next()))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case traits.Mapper:
		var items []string
		for it := x.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			items = append(items, text(k)+": "+text(x.Get(k)))
		}
		if len(items) > 1 {
			return ""
		}
		return "{" + strings.Join(items, ", ") + "}"
	case ref.Type:
		return x.TypeName()
	}
	return ""
}

type row struct {
	Expr   string `json:"expr"`
	Type   string `json:"type,omitempty"`
	Value  string `json:"value,omitempty"`
	Cost   uint64 `json:"cost"`
	Min    uint64 `json:"min"`
	Max    uint64 `json:"max"`
	Error  string `json:"error,omitempty"`
	Issues string `json:"issues,omitempty"`
}

func main() {
	set := environment.MustBaseEnvSet(version.MajorMinor(1, 37))
	set, err := set.Extend(environment.VersionedOptions{IntroducedVersion: version.MajorMinor(1, 0), EnvOptions: []cel.EnvOption{
		cel.Variable("s", cel.StringType), cel.Variable("i", cel.IntType), cel.Variable("l", cel.ListType(cel.StringType)),
		cel.Variable("ints", cel.ListType(cel.IntType)),
		cel.Variable("m", cel.MapType(cel.StringType, cel.StringType)), cel.Variable("d", cel.DynType), cel.Variable("b", cel.BoolType),
		ext.Bindings(ext.BindingsVersion(0)),
	}})
	if err != nil {
		panic(err)
	}
	env := set.StoredExpressionsEnv()
	vars := map[string]any{"s": "hello", "i": 7, "l": []string{"x", "yy", "zzz"}, "ints": []int64{3, 1, 2}, "m": map[string]string{"a": "1"},
		"d": map[string]any{"spec": map[string]any{"replicas": 3, "names": []any{"p", "q"}, "nothing": nil}, "kind": "Pod"}, "b": true}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for in.Scan() {
		e := in.Text()
		if e == "" || strings.HasPrefix(e, "#") {
			continue
		}
		r := row{Expr: e}
		ast, iss := env.Compile(e)
		if iss.Err() != nil {
			r.Issues = iss.String()
			out.Encode(r)
			continue
		}
		r.Type = ast.OutputType().String()
		est, err := env.EstimateCost(ast, &library.CostEstimator{})
		if err == nil {
			r.Min, r.Max = est.Min, est.Max
		}
		prg, err := env.Program(ast)
		if err != nil {
			r.Issues = "program: " + err.Error()
			out.Encode(r)
			continue
		}
		v, det, err := prg.Eval(vars)
		if det != nil && det.ActualCost() != nil {
			r.Cost = *det.ActualCost()
		}
		if err != nil {
			r.Error = err.Error()
		} else {
			r.Value = text(v)
		}
		out.Encode(r)
	}
}
