//go:build tools

// Package etcd names the store that upstream's API server runs on. A module of its own: its dependencies are not Kubernetes'.
package etcd

import _ "go.etcd.io/etcd/server/v3"
