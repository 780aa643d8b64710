// SPDX-License-Identifier: Apache-2.0

// Command celgo measures what bench_cel measures, of cel-go with the API server's environment.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"
)

const object = `{"kind":"Pod","metadata":{"name":"web-1","labels":{"app":"web","tier":"front"}},"spec":{"replicas":3,
"containers":[{"name":"a","image":"registry.local/a:1"},{"name":"b","image":"registry.local/b:2"},
{"name":"c","image":"registry.local/c:3"},{"name":"d","image":"registry.local/d:4"}]}}`

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func loop(f func()) float64 {
	n, start := 0, cpu()
	for ; n%64 != 0 || cpu()-start < 200*time.Millisecond; n++ {
		f()
	}
	return float64(cpu()-start) / float64(n)
}

func main() {
	set, err := environment.MustBaseEnvSet(version.MajorMinor(1, 37)).Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0), EnvOptions: []cel.EnvOption{cel.Variable("object", cel.DynType)}})
	if err != nil {
		panic(err)
	}
	env := set.StoredExpressionsEnv()
	var v any
	if err := json.Unmarshal([]byte(object), &v); err != nil {
		panic(err)
	}
	vars := map[string]any{"object": v}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var prg cel.Program
		compile := func() cel.Program {
			ast, iss := env.Compile(in.Text())
			if iss.Err() != nil {
				panic(iss.Err())
			}
			p, err := env.Program(ast)
			if err != nil {
				panic(err)
			}
			return p
		}
		ns := loop(func() { prg = compile() })
		kept := make([]cel.Program, 200)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range kept {
			kept[i] = compile()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		eval := loop(func() {
			if _, _, err := prg.Eval(vars); err != nil {
				panic(err)
			}
		})
		fmt.Printf("%.0f\t%.0f\t%d\t%s\n", ns, eval, int64(after.HeapAlloc-before.HeapAlloc)/int64(len(kept)), in.Text())
		runtime.KeepAlive(kept)
	}
}
