//go:build tools

// Package tools pins the Helm of the test control plane.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
