// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// What is known of one volume; kept in <state>/state.json, which the drivers of all nodes share.
type volume struct {
	ID, Name  string
	Size      int64
	Block     bool
	Ephemeral bool
	Nodes     []string         // it is attached to
	On        map[string]*uses // by node, where there are any
}

// What a node does with a volume.
type uses struct {
	Staged    []string          // paths
	Published map[string]string // path -> staging path
	Loop      string            // device, while it is one
}

type store struct {
	Volumes map[string]*volume
}

// Holds the store until unlock: against the other calls here and the drivers of other nodes.
func (d *driver) lock() error {
	d.mu.Lock()
	err := syscall.Flock(int(d.locked.Fd()), syscall.LOCK_EX)
	if err == nil {
		err = d.load()
	}
	if err != nil {
		d.unlock()
	}
	return err
}

func (d *driver) unlock() {
	syscall.Flock(int(d.locked.Fd()), syscall.LOCK_UN)
	d.mu.Unlock()
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
	for _, v := range d.store.Volumes {
		for node, u := range v.On {
			if !u.mounted() && u.Loop == "" {
				delete(v.On, node)
			}
		}
	}
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

func (u *uses) mounted() bool { return len(u.Staged) > 0 || len(u.Published) > 0 }

// What this node does with it.
func (d *driver) here(v *volume) *uses {
	if v.On == nil {
		v.On = map[string]*uses{}
	}
	u := v.On[d.nodeID]
	if u == nil {
		u = &uses{}
		v.On[d.nodeID] = u
	}
	if u.Published == nil {
		u.Published = map[string]string{}
	}
	return u
}

// ---- nodes: a file that the driver there holds locked as long as it lives --------------------------------------------------------

func (d *driver) nodeFile(node string) string {
	return filepath.Join(d.state, "nodes", filepath.Base(node))
}

func (d *driver) enlist() error {
	if err := os.MkdirAll(filepath.Join(d.state, "nodes"), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(d.nodeFile(d.nodeID), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	d.self = f
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
}

// What was mounted before a node lost its power is not mounted now.
func (d *driver) forget() error {
	if err := d.lock(); err != nil {
		return err
	}
	defer d.unlock()
	for _, v := range d.store.Volumes {
		u := d.here(v)
		gone := func(path string) bool { return !mounted(path) }
		maps.DeleteFunc(u.Published, func(path, _ string) bool { return gone(path) })
		if !v.Block {
			u.Staged = slices.DeleteFunc(u.Staged, gone)
		} else if len(u.Published) == 0 { // a staged device is no mount
			u.Staged = nil
		}
	}
	return d.save()
}

func (d *driver) known(node string) bool {
	_, err := os.Stat(d.nodeFile(node))
	return err == nil
}

// Nobody holds the file of a node that has no power any more, and nothing is mounted on it.
func (d *driver) alive(node string) bool {
	f, err := os.Open(d.nodeFile(node))
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}
