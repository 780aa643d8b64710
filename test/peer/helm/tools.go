//go:build tools

// Package helm names the package manager, a client of ours. A module of its own, as etcd's.
package helm

import _ "helm.sh/helm/v4/cmd/helm"
