// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
)

// csi-test judges the driver: it is no good judge of anybody else otherwise. Needs root (mounts).
func TestSanity(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	endpoint := "unix://" + filepath.Join(dir, "csi.sock")
	d, err := newDriver(options{name: "csi.cube.test", endpoint: endpoint, state: filepath.Join(dir, "state"), nodeID: "node",
		topology: "topology.csi.cube.test/node=node", attach: true, stage: true})
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	s := d.server()
	go s.Serve(l)
	defer s.Stop()
	config := sanity.NewTestConfig()
	config.Address = endpoint
	config.TargetPath = filepath.Join(dir, "target")
	config.StagingPath = filepath.Join(dir, "staging")
	config.TestVolumeExpandSize = 20 << 30
	sanity.Test(t, config)
}
