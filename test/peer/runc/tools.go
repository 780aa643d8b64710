//go:build tools

// Package runc names the runtime that belongs to containerd 2. A module of its own, as etcd's.
package runc

import _ "github.com/opencontainers/runc"
