// SPDX-License-Identifier: Apache-2.0

// Command values tells what the API server keeps of objects by a schema and what it says of their values:
// go run . <../values.jsonl >new (of each line it reads schema, obj and old)
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/cel/common"
)

type row struct {
	Schema json.RawMessage `json:"schema"`
	Obj    json.RawMessage `json:"obj"`
	Old    json.RawMessage `json:"old,omitempty"`
	Kept   any             `json:"kept"`
	Errors []string        `json:"errors"`
}

func load(s *structuralschema.Structural, b []byte) map[string]any {
	var o map[string]any
	if err := utiljson.Unmarshal(b, &o); err != nil {
		panic(err)
	}
	pruning.Prune(o, s, true)
	defaulting.PruneNonNullableNullsWithoutDefaults(o, s)
	defaulting.Default(o, s)
	return o
}

func one(r *row) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	var props v1.JSONSchemaProps
	if err := json.Unmarshal(r.Schema, &props); err != nil {
		return err
	}
	var in apiext.JSONSchemaProps
	if err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&props, &in, nil); err != nil {
		return err
	}
	s, err := structuralschema.NewStructural(&in)
	if err != nil {
		return err
	}
	if errs := structuralschema.ValidateStructural(nil, s); len(errs) > 0 {
		return errs.ToAggregate()
	}
	val, _, err := validation.NewSchemaValidator(&in)
	if err != nil {
		return err
	}
	o := load(s, r.Obj)
	r.Kept = o
	var errs field.ErrorList
	if r.Old == nil {
		errs = validation.ValidateCustomResource(nil, o, val)
		errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s, o)...)
	} else {
		old := load(s, r.Old)
		errs = validation.ValidateCustomResourceUpdate(nil, o, old, val, validation.WithRatcheting(common.NewCorrelatedObject(o, old, &model.Structural{Structural: s})))
		if len(listtype.ValidateListSetsAndMaps(nil, s, old)) == 0 {
			errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s, o)...)
		}
	}
	r.Errors = []string{}
	for _, e := range errs {
		r.Errors = append(r.Errors, fmt.Sprintf("%s %s: %s", string(e.Type), e.Field, e.ErrorBody()))
	}
	sort.Strings(r.Errors)
	return nil
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<20)
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for in.Scan() {
		var r row
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			panic(err)
		}
		if err := one(&r); err != nil {
			fmt.Fprintln(os.Stderr, string(in.Bytes()), err)
			continue
		}
		out.Encode(r)
	}
}
