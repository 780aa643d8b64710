//go:build tools

// Package h2spec names the judge of HTTP/2 servers. A module of its own, as etcd's.
package h2spec

import _ "github.com/summerwind/h2spec/cmd/h2spec"
