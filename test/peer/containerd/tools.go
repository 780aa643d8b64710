//go:build tools

// Package containerd names the container runtime with what Debian's is too old for. A module of its own, as etcd's.
package containerd

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
)
