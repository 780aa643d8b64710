// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
)

// What is known of one volume; kept in <state>/state.json.
type volume struct {
	ID, Name  string
	Size      int64
	Block     bool
	Ephemeral bool
	Nodes     []string          // it is attached to
	Staged    []string          // paths
	Published map[string]string // path -> staging path
	Loop      string            // device, while it is one
}

type store struct {
	Volumes map[string]*volume
}

func (d *driver) load() error {
	d.store.Volumes = map[string]*volume{}
	text, err := os.ReadFile(filepath.Join(d.state, "state.json"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &d.store)
}

func (d *driver) save() error {
	text, err := json.Marshal(d.store)
	if err != nil {
		return err
	}
	path := filepath.Join(d.state, "state.json")
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (d *driver) byName(name string) *volume {
	for _, v := range d.store.Volumes {
		if v.Name == name {
			return v
		}
	}
	return nil
}

func (d *driver) ids() []string {
	var ids []string
	for id := range d.store.Volumes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (d *driver) path(v *volume) string {
	if v.Block {
		return filepath.Join(d.state, "volumes", v.ID+".img")
	}
	return filepath.Join(d.state, "volumes", v.ID)
}

func remove(list []string, s string) []string {
	return slices.DeleteFunc(list, func(x string) bool { return x == s })
}

func add(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
