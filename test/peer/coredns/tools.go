//go:build tools

// Package coredns names the DNS server of other clusters, the peer of ours. A module of its own, as etcd's.
package coredns

import _ "github.com/coredns/coredns"
